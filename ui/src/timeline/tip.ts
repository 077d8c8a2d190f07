/** What is told of the mark or bar under the pointer. */

import { fill, h } from '../dom'
import { oneLine } from '../inert'
import type { Mark, Range, TapioEvent } from '../model'
import { numberOf, RANKS, sourceName, wordOf } from '../severity'
import { severityIcon } from '../shapes'
import { clock, parseTime, zone } from '../times'
import type { Spot } from './layout'

/** Kinds of event that are named of many. */
const NAMED = 3

/** What is known of a spot: the event it stands for, or of many their times and their marks where these are known. */
export interface Known {
  entity: string
  mark?: Mark
  event?: TapioEvent
  times?: Range
  among: readonly Mark[]
}

export class Tip {
  readonly element = h('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' })

  hide(): void {
    this.element.hidden = true
  }

  /** Shows it beside a spot, within a room of a width and height. */
  show(spot: Spot, known: Known, room: { width: number; height: number }): void {
    this.element.hidden = false
    fill(this.element, ...lines(spot, known))
    const { offsetWidth, offsetHeight, style } = this.element
    style.left = `${Math.max(4, Math.min(spot.x + 14, room.width - offsetWidth - 4))}px`
    const below = spot.y + 16 + offsetHeight < room.height
    style.top = `${below ? spot.y + 16 : Math.max(4, spot.y - offsetHeight - 14)}px`
  }
}

function lines(spot: Spot, known: Known): Node[] {
  const { mark, event } = known
  if (mark) return one(spot, known, mark[1], mark[2], mark[3], mark[4], mark[6])
  if (event) return one(spot, known, parseTime(event.timestamp), numberOf(event.severity), event.source, event.type, event.title || event.description || '')
  return many(spot, known)
}

function one(spot: Spot, known: Known, time: number, severity: number, source: string, type: string, title: string): Node[] {
  return [
    h('div', { class: 'tip-head' }, severityIcon(severity), h('strong', {}, wordOf(severity)), ` ${clock(time, true)} ${zone(time)}`),
    h('div', {}, h('bdi', {}, oneLine(title, 160) || type)),
    h('div', { class: 'dim' }, h('bdi', {}, `${type} · ${sourceName(source)} · ${known.entity}`)),
    ...(spot.count > 1 ? [h('div', { class: 'dim' }, `and ${spot.count - 1} more so close that they are drawn as one`)] : []),
  ]
}

/** Tells how many there are of each severity, when, and of which kinds. */
function many(spot: Spot, { entity, times, among }: Known): Node[] {
  const counts = spot.column?.counts ?? RANKS.map((_, rank) => (rank === spot.rank ? spot.count : 0))
  const bySeverity = RANKS.map((rank, at) => ({ rank, count: counts[at] ?? 0 })).filter(({ count }) => count).reverse()
  return [
    h('div', { class: 'tip-head' }, h('strong', {}, `${spot.count.toLocaleString('en')} ${spot.count === 1 ? 'event' : 'events'}`), times ? ` ${clock(times.start, true)} – ${clock(times.end, true)} ${zone(times.start)}` : ''),
    h('div', { class: 'tip-counts' }, ...bySeverity.map(({ rank, count }) => h('span', { class: 'inline' }, severityIcon(rank.least || 9), ` ${count.toLocaleString('en')} ${rank.word}`))),
    h('div', {}, h('bdi', {}, entity)),
    ...kinds(among).map((kind) => h('div', { class: 'dim' }, h('bdi', {}, kind))),
    h('div', { class: 'dim' }, 'Click to zoom in and see each'),
  ]
}

function kinds(marks: readonly Mark[]): string[] {
  const counts = new Map<string, number>()
  for (const [, , , source, type] of marks) {
    const kind = `${oneLine(type, 60)} · ${sourceName(source)}`
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1])
  const rest = sorted.length - NAMED
  return [...sorted.slice(0, NAMED).map(([kind, count]) => `${count} × ${kind}`), ...(rest > 0 ? [`and ${rest} more kinds`] : [])]
}
