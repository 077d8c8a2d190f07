/** The list of findings, the newest on top. */

import { fill, h } from './dom'
import { oneLine } from './inert'
import type { Finding } from './model'
import { wordOf, numberOf } from './severity'
import { severityIcon } from './shapes'
import { isTold, revisionOf, storyOf } from './story'
import { ago, dateAndClock, parseTime } from './times'

export class FindingList {
  readonly element = h('section', { class: 'findings', 'aria-labelledby': 'findings-title' })
  private readonly title = h('h2', { id: 'findings-title' }, 'What happened')
  private readonly list = h('ol', { class: 'finding-list' })
  private readonly known = new Map<string, Finding>()
  private selected = ''

  constructor(private readonly onChoose: (id: string) => void) {
    this.element.append(this.title, this.list)
  }

  /** Gives those that are told, the newest first. */
  get all(): Finding[] {
    return [...this.known.values()].filter(isTold).sort((a, b) => parseTime(b.timestamp) - parseTime(a.timestamp))
  }

  get(id: string): Finding | undefined {
    return this.known.get(id)
  }

  /** Adds findings or later revisions of them, and gives those that were not known before. */
  add(findings: readonly Finding[]): Finding[] {
    const fresh = findings.filter((one) => !this.known.has(one.id))
    for (const one of findings) {
      const before = this.known.get(one.id)
      if (!before || revisionOf(one) >= revisionOf(before)) this.known.set(one.id, { ...one, events: one.events ?? before?.events })
    }
    this.render()
    return fresh.filter(isTold)
  }

  select(id: string): void {
    this.selected = id
    this.render()
  }

  render(): void {
    const all = this.all
    fill(this.title, 'What happened', h('span', { class: 'count' }, all.length ? String(all.length) : ''))
    const kept = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.finding : undefined
    fill(this.list, ...(all.length ? all.map((one) => this.item(one)) : [h('li', { class: 'none' }, 'No finding yet. As soon as a cause and its consequences are seen together, they stand here.')]))
    if (kept) [...this.list.querySelectorAll<HTMLElement>('[data-finding]')].find((one) => one.dataset.finding === kept)?.focus()
  }

  private item(finding: Finding): HTMLElement {
    const story = storyOf(finding)
    const concerned = story.entities.length
    const current = finding.id === this.selected
    return h('li', {}, h('button', { class: 'finding', 'data-finding': finding.id, 'aria-current': current ? 'true' : undefined, onclick: () => this.onChoose(finding.id) },
      severityIcon(finding.severity, wordOf(numberOf(finding.severity))),
      h('span', { class: 'finding-title' }, h('bdi', {}, oneLine(finding.title ?? story.rule, 200))),
      h('span', { class: 'finding-facts' },
        h('time', { datetime: finding.timestamp, title: dateAndClock(story.start, true) }, ago(story.start)),
        h('span', {}, `${concerned} ${concerned === 1 ? 'entity' : 'entities'}`),
        h('span', {}, `${Math.round(story.confidence * 100)} % sure`),
        story.open ? h('span', { class: 'open' }, 'going on') : null)))
  }
}
