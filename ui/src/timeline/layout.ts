/**
 * Where marks are drawn: what would overlap is drawn once and counted, and when there is much in view, plain marks become bars.
 *
 * A frame's work is bounded by what fits on the screen, however many events are in view.
 */

import type { Range } from '../model'
import { rankOf } from '../severity'
import type { Marks } from './marks'

export const ROW = 26
const BUCKET = 3
/** Warnings in view from which on they are bars too, so that what is worse stands out. */
const MANY_WARNINGS = 300
/** Marks in view up to which every one is drawn as its shape, and up to which it bears the letter of its source. */
const ALL_SHAPES = 1500
const LETTERS = 300

export interface Area {
  left: number
  top: number
  width: number
  height: number
}

/** A shape that is drawn: the mark it stands for, and how many more it covers. */
export interface Spot {
  x: number
  y: number
  rank: number
  mark: number
  count: number
  row: number
}

export interface Layout {
  spots: Spot[]
  /** Left, top, width, height of bars, for each class. */
  bars: number[][]
  radius: number
  letters: boolean
}

export interface Place {
  area: Area
  view: Range
  scroll: number
  rowOf: Int32Array
  rows: number
}

export function xOf(time: number, place: Place): number {
  return place.area.left + ((time - place.view.start) / (place.view.end - place.view.start)) * place.area.width
}

export function yOf(row: number, place: Place): number {
  return place.area.top + row * ROW + ROW / 2 - place.scroll
}

export function timeAt(x: number, place: Place): number {
  return place.view.start + ((x - place.area.left) / place.area.width) * (place.view.end - place.view.start)
}

function isSeen(row: number, place: Place): boolean {
  const top = row * ROW - place.scroll
  return row >= 0 && top > -ROW && top < place.area.height
}

export function lay(marks: Marks, place: Place): Layout {
  const layout = layMarks(marks, place)
  if (marks.dense) layDensity(marks, place, layout)
  return layout
}

function layMarks(marks: Marks, place: Place): Layout {
  const seen = inView(marks, place)
  const all = seen.length <= ALL_SHAPES
  const shaped = all ? 0 : seen.reduce((sum, at) => sum + Number(marks.rank[at] === 2), 0) > MANY_WARNINGS ? 3 : 2
  const letters = seen.length <= LETTERS
  const layout: Layout = { spots: [], bars: [[], [], [], [], []], radius: letters ? 7.5 : all ? 6 : 5, letters }
  const plain = new Buckets(place)
  const last = new Map<number, Spot>()
  for (const at of seen) {
    const [rank, row] = [marks.rank[at]!, place.rowOf[marks.lane[at]!]!]
    const x = xOf(marks.time[at]!, place)
    if (rank < shaped) plain.add(row, rank, x, 1)
    else addSpot(layout, last, { x, y: yOf(row, place), rank, mark: at, count: 1, row })
  }
  plain.write(layout)
  return layout
}

function inView(marks: Marks, place: Place): number[] {
  const seen: number[] = []
  const margin = ((place.view.end - place.view.start) / place.area.width) * 10
  const end = marks.after(place.view.end + margin)
  for (let at = marks.after(place.view.start - margin); at < end; at++) {
    if (isSeen(place.rowOf[marks.lane[at]!] ?? -1, place)) seen.push(at)
  }
  return seen
}

function addSpot(layout: Layout, last: Map<number, Spot>, spot: Spot): void {
  const key = spot.row * 8 + spot.rank
  const before = last.get(key)
  if (before && spot.x - before.x < layout.radius * 1.3) {
    before.count += spot.count
    return
  }
  last.set(key, spot)
  layout.spots.push(spot)
}

/** Adds what is known as counts only; shapes of it are behind the marks. */
function layDensity(marks: Marks, place: Place, layout: Layout): void {
  const named = layout.spots
  layout.spots = []
  const plain = new Buckets(place)
  const last = new Map<number, Spot>()
  const seen = marks.density.filter(([lane, start, end]) => end >= place.view.start && start <= place.view.end && isSeen(place.rowOf[lane] ?? -1, place))
  const shaped = seen.reduce((sum, one) => sum + Number(rankOf(one[3]) === 2), 0) > MANY_WARNINGS ? 3 : 2
  for (const [lane, start, end, severity, count] of seen) {
    const [row, rank] = [place.rowOf[lane]!, rankOf(severity)]
    const x = xOf((start + end) / 2, place)
    if (rank < shaped) plain.add(row, rank, x, count, xOf(end, place) - xOf(start, place))
    else addSpot(layout, last, { x, y: yOf(row, place), rank, mark: -1, count, row })
  }
  layout.spots.push(...named)
  layout.letters = false
  layout.radius = 5.5
  plain.write(layout)
}

/** Counts of plain marks by row, class and column of pixels. */
class Buckets {
  private readonly counts = new Map<number, number>()
  private width = BUCKET
  private most = 1

  constructor(private readonly place: Place) {}

  add(row: number, rank: number, x: number, more: number, width = BUCKET): void {
    this.width = Math.max(this.width, Math.min(width, 60))
    const column = Math.floor((x - this.place.area.left) / BUCKET) + 64
    const key = (row * 4 + rank) * 8192 + Math.max(0, Math.min(8191, column))
    const count = (this.counts.get(key) ?? 0) + more
    this.counts.set(key, count)
    this.most = Math.max(this.most, count)
  }

  write(layout: Layout): void {
    const full = Math.log2(this.most + 1)
    for (const [key, count] of this.counts) {
      const [slot, column] = [Math.floor(key / 8192), key % 8192]
      const height = 3 + (Math.log2(count + 1) / full) * (ROW - 11)
      const x = this.place.area.left + (column - 64) * BUCKET - (this.width - BUCKET) / 2
      const bottom = yOf(slot >> 2, this.place) + ROW / 2 - 4
      layout.bars[slot & 3]!.push(x, bottom - height, this.width - 0.5, height)
    }
  }
}

/** Gives the spot nearest to a point, within reach. */
export function spotAt(layout: Layout, x: number, y: number, reach: number): Spot | null {
  let found: Spot | null = null
  let best = reach * reach
  for (const spot of layout.spots) {
    const distance = (spot.x - x) ** 2 + (spot.y - y) ** 2 - spot.rank
    if (distance < best) [found, best] = [spot, distance]
  }
  return found
}
