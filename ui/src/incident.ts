/** One finding, told in full: what happened in plain words, what led to what, whom it concerns, who saw it. */

import { fill, h } from './dom'
import { oneLine } from './inert'
import { nameOf, type TapioEvent } from './model'
import { letterOf, numberOf, sourceName, wordOf } from './severity'
import { severityIcon } from './shapes'
import type { Story } from './story'
import { clock, dateAndClock, parseTime, spell, zone } from './times'

export interface Listener {
  event(id: string): void
  entity(name: string): void
  only(on: boolean): void
  zoom(): void
}

/** Impacts of which more than so many are alike are told as one. */
const ALIKE = 3

export class IncidentView {
  readonly element = h('section', { class: 'incident', 'aria-labelledby': 'incident-title' })
  private readonly unfolded = new Set<string>()
  private story: Story | null = null
  private only = false

  constructor(private readonly listener: Listener) {}

  show(story: Story | null, only: boolean): void {
    if (this.story?.finding.id !== story?.finding.id) this.unfolded.clear()
    this.story = story
    this.only = only
    this.render()
  }

  private render(): void {
    const { story } = this
    this.element.hidden = !story
    if (!story) return fill(this.element)
    const kept = document.activeElement?.id
    fill(this.element, this.words(story), this.causes(story), this.scope(story))
    if (kept) document.getElementById(kept)?.focus()
  }

  private words(story: Story): HTMLElement {
    const { finding } = story
    const lasted = story.end - story.start
    return h('div', { class: 'words' },
      h('div', { class: 'incident-head' }, severityIcon(finding.severity), h('strong', { class: `word-${wordOf(numberOf(finding.severity))}` }, wordOf(numberOf(finding.severity))),
        h('time', { datetime: finding.timestamp }, `${dateAndClock(story.start)} ${zone(story.start)}`),
        h('span', {}, lasted > 0 ? `over ${spell(lasted)}` : ''), story.open ? h('span', { class: 'open' }, 'going on') : null),
      h('h2', { id: 'incident-title' }, h('bdi', {}, oneLine(finding.title ?? story.rule, 300))),
      h('p', { class: 'description' }, h('bdi', {}, oneLine((finding.description ?? '').replaceAll('\n', ' '), 2000))),
      story.hint ? h('p', { class: 'hint' }, h('strong', {}, 'What to check: '), h('bdi', {}, oneLine(story.hint.replaceAll('\n', ' '), 1000))) : null,
      confidence(story))
  }

  private causes(story: Story): HTMLElement {
    const graph = h('div', { class: 'causes' }, h('h3', {}, 'Cause and consequences'))
    if (!story.root) {
      graph.append(h('p', { class: 'dim' }, 'The events of this finding are no longer kept.'))
      return graph
    }
    const consequences = h('ol', { class: 'impacts' }, ...this.groups(story).map((group) => this.group(group, story)))
    graph.append(h('ol', { class: 'tree' }, h('li', {}, this.card(story.root, story, 'root cause'), consequences)))
    return graph
  }

  /** Puts together impacts that are alike in type and severity, where they are many. */
  private groups(story: Story): TapioEvent[][] {
    const groups = new Map<string, TapioEvent[]>()
    for (const one of story.impacts) {
      const key = `${one.type} ${one.severity}`
      groups.set(key, [...(groups.get(key) ?? []), one])
    }
    const few = story.impacts.length <= 5
    return [...groups].flatMap(([key, events]) => (few || events.length <= ALIKE || this.unfolded.has(key) ? events.map((one) => [one]) : [events]))
  }

  private group(events: TapioEvent[], story: Story): HTMLElement {
    const [first] = events
    if (events.length === 1) return h('li', {}, this.card(first!, story, ''))
    const about = new Set(events.map((one) => nameOf(one.entity)))
    const key = `${first!.type} ${first!.severity}`
    const unfold = () => {
      this.unfolded.add(key)
      this.render()
    }
    return h('li', {}, h('button', { class: 'card', onclick: unfold, 'aria-expanded': 'false' },
      severityIcon(first!.severity, wordOf(numberOf(first!.severity))),
      h('span', { class: 'card-what' }, h('strong', {}, `${events.length} × `), h('bdi', {}, first!.type.replaceAll('_', ' '))),
      h('span', { class: 'card-who' }, `of ${about.size} ${about.size === 1 ? 'entity' : 'entities'} · show each`),
      h('span', { class: 'card-when' }, `+${spell(after(first!, story))} …`)))
  }

  private card(event: TapioEvent, story: Story, role: string): HTMLElement {
    const title = oneLine(event.title || event.description || '', 140)
    return h('button', { class: role ? 'card root' : 'card', id: `card-${event.id}`, onclick: () => this.listener.event(event.id) },
      severityIcon(event.severity, wordOf(numberOf(event.severity))),
      h('span', { class: 'card-what' }, role ? h('span', { class: 'role' }, role) : null, h('bdi', {}, title || event.type.replaceAll('_', ' '))),
      h('span', { class: 'card-who' }, h('bdi', {}, oneLine(nameOf(event.entity), 90)), ` · ${sourceName(event.source)}`),
      h('span', { class: 'card-when' }, role ? clock(parseTime(event.timestamp), true) : `${after(event, story) < 0 ? '−' : '+'}${spell(after(event, story))}`))
  }

  private scope(story: Story): HTMLElement {
    return h('div', { class: 'scope' },
      h('h3', {}, `Concerned: ${story.entities.length} ${story.entities.length === 1 ? 'entity' : 'entities'}`),
      h('ul', { class: 'chips' }, ...story.entities.slice(0, 40).map((name) => this.entity(name)),
        story.entities.length > 40 ? h('li', { class: 'dim' }, `and ${story.entities.length - 40} more`) : null),
      h('h3', {}, 'Witnesses'),
      h('ul', { class: 'chips' }, ...[...story.witnesses].map(([source, count]) => witness(source, count))),
      h('div', { class: 'scope-actions' },
        h('button', { onclick: () => this.listener.zoom() }, 'Zoom to it'),
        h('label', { class: 'check' }, this.onlyBox(), 'only what it concerns')))
  }

  private onlyBox(): HTMLElement {
    const box = h('input', { type: 'checkbox', id: 'only', checked: this.only })
    box.addEventListener('change', () => this.listener.only(box.checked))
    return box
  }

  private entity(name: string): HTMLElement {
    const [type = '', ...rest] = name.split('/')
    return h('li', {}, h('button', { class: 'chip', title: 'Show its events only', onclick: () => this.listener.entity(name) },
      h('span', { class: 'lane-type' }, rest.length ? type.replace('systemd_', '') : ''), h('bdi', {}, oneLine(rest.join('/') || type, 80))))
  }
}

function after(event: TapioEvent, story: Story): number {
  return parseTime(event.timestamp) - parseTime(story.root!.timestamp)
}

function witness(source: string, count: number): HTMLElement {
  return h('li', { class: 'witness' }, h('span', { class: 'letter', 'aria-hidden': 'true' }, letterOf(source)), h('bdi', {}, sourceName(source)), count ? h('span', { class: 'count' }, String(count)) : null)
}

function confidence(story: Story): HTMLElement {
  const percent = Math.round(story.confidence * 100)
  return h('p', { class: 'confidence' },
    h('meter', { min: 0, max: 100, value: percent, 'aria-label': 'Confidence' }),
    h('span', {}, `${percent} % sure`), h('span', { class: 'dim' }, ' by the rule '), h('code', {}, oneLine(story.rule, 60)))
}
