/** What the page says while there is nothing to see: what is listened to, what is not, and why. */

import { fill, h } from './dom'
import { oneLine } from './inert'
import type { SourceState, TapioEvent } from './model'
import { sourceName } from './severity'
import { ago, dateAndClock, parseTime, rfc3339, zone } from './times'

/** Where the reader may go from here. */
export interface Ways {
  go(from: string, to: string): void
  live(): void
}

export class Silence {
  readonly element = h('section', { class: 'silence', 'aria-labelledby': 'silence-title', hidden: true })

  hide(): void {
    this.element.hidden = true
  }

  /** Shows it, and where the last event was. `isLive`: what comes is shown as it comes. */
  show(sources: readonly SourceState[], last: TapioEvent | undefined, isLive: boolean, ways: Ways): void {
    const open = sources.filter((one) => one.listening)
    const shut = sources.filter((one) => !one.listening)
    fill(this.element,
      h('h2', { id: 'silence-title' }, 'Nothing happened in this time'),
      last ? elsewhere(parseTime(last.timestamp), ways.go) : null,
      sources.length ? h('p', {}, open.length ? 'This is listened to. ' : 'Nothing is listened to.', open.length ? coming(isLive, ways.live) : null) : null,
      open.length ? h('ul', { class: 'sources' }, ...open.map((one) => item(one, true))) : null,
      shut.length ? h('h3', {}, 'Not listened to') : null,
      shut.length ? h('ul', { class: 'sources' }, ...shut.map((one) => item(one, false))) : null)
    this.element.hidden = false
  }
}

function coming(isLive: boolean, live: () => void): Node {
  if (isLive) return document.createTextNode('What happens next will show here.')
  return h('button', { onclick: live }, 'Show what happens next')
}

function elsewhere(time: number, go: (from: string, to: string) => void): HTMLElement {
  const there = () => go(rfc3339(time - 1_800_000), rfc3339(time + 60_000))
  return h('p', {}, `The last event was ${ago(time)}, at ${dateAndClock(time)} ${zone(time)}. `, h('button', { class: 'primary', onclick: there }, 'Go there'))
}

/** Says how one source is. */
export function item(source: SourceState, listening: boolean): HTMLElement {
  const last = source.last ? parseTime(source.last) : NaN
  const count = source.events ?? 0
  const heard = count ? `${count.toLocaleString('en')} events${Number.isFinite(last) ? `, the last ${ago(last)}` : ''}` : 'no event yet'
  return h('li', { class: listening ? 'listening' : 'deaf' },
    h('span', { class: 'tick', 'aria-hidden': 'true' }, listening ? '●' : '○'),
    h('strong', {}, sourceName(source.type ?? source.id)), source.id === source.type ? null : h('code', {}, source.id),
    h('span', { class: 'dim' }, h('bdi', {}, listening ? heard : oneLine(source.reason || 'no reason is known', 400))),
    listening && source.reason ? h('span', { class: 'source-hint problem' }, h('bdi', {}, oneLine(source.reason, 400))) : null,
    source.hint ? h('span', { class: 'source-hint' }, h('bdi', {}, oneLine(source.hint, 400))) : null)
}
