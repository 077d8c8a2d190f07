/** The same events as a table: for reading, for keyboards and screen readers. */

import { fill, h } from './dom'
import { oneLine } from './inert'
import { nameOf, type EventsAnswer, type TapioEvent } from './model'
import { numberOf, sourceName, wordOf } from './severity'
import { severityIcon } from './shapes'
import { dateAndClock, parseTime, zone } from './times'

export class EventList {
  readonly element = h('div', { class: 'list', tabindex: 0, role: 'region', 'aria-label': 'Events as a table' })
  private readonly body = h('tbody', {})
  private readonly heads = h('tr', {})
  private readonly more = h('button', { class: 'more', hidden: true }, 'Show more')
  private readonly note = h('p', { class: 'none', hidden: true }, 'Nothing happened in this time, or the search and filters leave it out.')
  private next = ''
  private turn = 0

  constructor(
    private readonly read: (cursor: string) => Promise<EventsAnswer>,
    private readonly onChoose: (id: string) => void,
    private readonly onProblem: (error: unknown) => void,
  ) {
    this.element.append(h('table', {}, h('caption', { class: 'unseen' }, 'Events, the newest first'), h('thead', {}, this.heads), this.body), this.note, this.more)
    this.more.addEventListener('click', () => void this.extend())
  }

  /** Reads anew from the newest event on. */
  async refresh(): Promise<void> {
    this.next = ''
    const names = [`Time (${zone()})`, 'Severity', 'Source', 'Entity', 'What']
    fill(this.heads, ...names.map((name) => h('th', { scope: 'col' }, name)))
    await this.extend(true)
  }

  private async extend(anew = false): Promise<void> {
    const turn = ++this.turn
    try {
      const answer = await this.read(this.next)
      if (turn !== this.turn) return
      if (anew) fill(this.body)
      this.next = answer.next ?? ''
      const rows = answer.events.filter((one) => one.type !== 'correlation').map((one) => this.row(one))
      this.body.append(...rows)
      this.more.hidden = !this.next
      this.note.hidden = this.body.childElementCount > 0
    } catch (error) {
      this.onProblem(error)
    }
  }

  add(events: readonly TapioEvent[]): void {
    const fresh = events.map((one) => this.row(one)).reverse()
    this.body.prepend(...fresh)
    this.note.hidden = true
    while (this.body.childElementCount > 2000) this.body.lastElementChild!.remove()
  }

  private row(event: TapioEvent): HTMLElement {
    const word = wordOf(numberOf(event.severity))
    const what = oneLine(event.title || event.description || '', 200) || event.type
    return h('tr', {},
      h('td', { class: 'when' }, h('time', { datetime: event.timestamp }, dateAndClock(parseTime(event.timestamp), true))),
      h('td', { class: 'how' }, h('span', { class: 'inline' }, severityIcon(event.severity), ` ${word}`)),
      h('td', { class: 'from' }, h('bdi', {}, sourceName(event.source))),
      h('td', { class: 'who' }, h('bdi', {}, oneLine(nameOf(event.entity), 120))),
      h('td', { class: 'what' }, h('button', { class: 'link', onclick: () => this.onChoose(event.id) }, h('bdi', {}, what)),
        event.type === 'log' ? null : h('code', { class: 'dim' }, oneLine(event.type, 60))))
  }
}
