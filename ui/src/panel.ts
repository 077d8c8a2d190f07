/** The panel at the side: one event whole, with its attributes, its lineage, and the way to its trace. */

import { fill, h } from './dom'
import { inert, oneLine, size } from './inert'
import { nameOf, type Entity, type Finding, type Settings, type TapioEvent } from './model'
import { numberOf, sourceName, wordOf } from './severity'
import { severityIcon } from './shapes'
import { ago, dateAndClock, parseTime, spell, zone } from './times'

/** Characters of a text that are shown before someone asks for all. */
const CUT = 4000

export interface Listener {
  close(): void
  search(text: string): void
  finding(id: string): void
}

export class Panel {
  readonly element = h('aside', { class: 'panel', 'aria-labelledby': 'panel-title', tabindex: -1, hidden: true })
  settings: Settings = {}

  constructor(private readonly listener: Listener) {
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') listener.close()
    })
  }

  hide(): void {
    this.element.hidden = true
    fill(this.element)
  }

  wait(): void {
    this.open(h('p', { class: 'dim' }, 'Reading the event…'))
  }

  fail(message: string): void {
    this.open(h('p', { class: 'problem', role: 'alert' }, message))
  }

  show(event: TapioEvent, findings: readonly Finding[]): void {
    this.open(
      this.facts(event),
      event.description && event.description !== event.title ? section('Message', this.long(event.description)) : null,
      this.lineage(event.entity),
      this.trace(event),
      findings.length ? section('Part of', h('ul', { class: 'plain' }, ...findings.map((one) => this.partOf(one)))) : null,
      this.table('Attributes', event.attributes),
      this.table('Labels', event.labels),
      this.table('Annotations', event.annotations),
      this.whole(event),
    )
    this.element.querySelector('h2')!.textContent = inert(oneLine(event.title || event.description || event.type, 300))
  }

  private open(...children: (Node | null)[]): void {
    const close = h('button', { class: 'close', 'aria-label': 'Close the event', onclick: () => this.listener.close() }, '✕')
    const kept = this.element.contains(document.activeElement)
    fill(this.element, h('header', {}, h('h2', { id: 'panel-title' }, 'Event'), close), ...children)
    this.element.hidden = false
    this.element.scrollTop = 0
    if (kept) this.element.focus()
  }

  private facts(event: TapioEvent): HTMLElement {
    const time = parseTime(event.timestamp)
    const late = event.observed ? parseTime(event.observed) - time : 0
    return h('dl', { class: 'facts' },
      ...pair('Severity', h('span', { class: 'inline' }, severityIcon(event.severity), ` ${wordOf(numberOf(event.severity))}`)),
      ...pair('Time', h('time', { datetime: event.timestamp }, `${dateAndClock(time, true)} ${zone(time)}`), h('span', { class: 'dim' }, ` ${ago(time)}`)),
      ...(late > 1000 ? pair('Seen', `${spell(late)} later`) : []),
      ...pair('Type', this.find(`type:${event.type}`, event.type)),
      ...pair('Source', this.find(`source:${event.source}`, sourceName(event.source))))
  }

  private find(query: string, label: string): HTMLElement {
    return h('button', { class: 'link', title: 'Search for it', onclick: () => this.listener.search(query) }, h('bdi', {}, oneLine(label, 200)))
  }

  private lineage(entity: Entity): HTMLElement {
    const steps: Entity[] = []
    for (let one: Entity | null | undefined = entity; one; one = one.parent) steps.unshift(one)
    return section('Entity', h('ol', { class: 'lineage' }, ...steps.map((one) => h('li', {}, this.find(`entity:${nameOf(one)}`, nameOf(one))))))
  }

  private trace(event: TapioEvent): HTMLElement | null {
    if (!event.trace_id) return null
    const address = traceAddress(this.settings.trace_url, event)
    const id = h('code', {}, oneLine(event.trace_id, 64))
    return section('Trace',
      address ? h('a', { href: address, rel: 'noreferrer noopener', target: '_blank', class: 'trace' }, id, ' ↗') : h('span', {}, id),
      event.span_id ? h('div', { class: 'dim' }, 'span ', h('code', {}, oneLine(event.span_id, 32))) : null,
      h('div', {}, this.find(`trace:${event.trace_id}`, 'Events of this trace')))
  }

  private partOf(finding: Finding): HTMLElement {
    return h('li', {}, h('button', { class: 'link', onclick: () => this.listener.finding(finding.id) }, severityIcon(finding.severity), ' ', h('bdi', {}, oneLine(finding.title ?? 'finding', 200))))
  }

  private table(title: string, values: Record<string, unknown> | undefined): HTMLElement | null {
    const entries = Object.entries(values ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
    if (!entries.length) return null
    const cell = (value: unknown) => this.long(typeof value === 'string' ? value : JSON.stringify(value), 'span')
    return section(title, h('table', { class: 'attributes' }, h('tbody', {}, ...entries.slice(0, 400).map(([name, value]) =>
      h('tr', {}, h('th', { scope: 'row' }, h('bdi', {}, oneLine(name, 200))), h('td', {}, cell(value)))))))
  }

  private whole(event: TapioEvent): HTMLElement {
    const place = h('div', {})
    const details = h('details', { class: 'whole' }, h('summary', {}, 'The whole event as JSON'), place)
    details.addEventListener('toggle', () => {
      if (details.open) fill(place, this.long(JSON.stringify(event, null, 2)))
    })
    return details
  }

  /** Shows a text as it is, cut where it is long; the rest is made only when asked for. */
  private long(text: string, tag: 'pre' | 'span' = 'pre'): HTMLElement {
    const body = h(tag, { class: 'long', dir: 'auto' }, h('bdi', {}, text.slice(0, CUT)))
    if (text.length <= CUT) return body
    const all = h('button', { class: 'show-all' }, `Show all (${size(text.length)})`)
    all.addEventListener('click', () => {
      fill(body, h('bdi', {}, text))
      all.remove()
    })
    return h('div', {}, body, all)
  }
}

function section(title: string, ...children: (Node | null)[]): HTMLElement {
  return h('section', {}, h('h3', {}, title), ...children)
}

function pair(name: string, ...value: (Node | string)[]): HTMLElement[] {
  return [h('dt', {}, name), h('dd', {}, ...value)]
}

/** Gives the address of a trace in the backend; only such that a browser opens as a page. */
export function traceAddress(template: string | null | undefined, event: TapioEvent): string | null {
  if (!template || !event.trace_id) return null
  const filled = template.replaceAll('{trace_id}', encodeURIComponent(event.trace_id)).replaceAll('{span_id}', encodeURIComponent(event.span_id ?? ''))
  return /^https?:\/\//i.test(filled) ? filled : null
}
