/**
 * Where marks are drawn: what would overlap is drawn once and counted, and when there is much in view, plain marks become bars.
 *
 * A frame's work is bounded by what fits on the screen, however many events are in view.
 */

import type { Range } from '../model'
import { RANKS, rankOf } from '../severity'
import type { Marks } from './marks'

export const ROW = 26
/** Room at the sides of the picture, in which marks at the very ends of the time are drawn whole. */
export const SIDES = { left: 10, right: 14 }
const BUCKET = 3
/** Classes that may become bars, the least bad: up to warnings. */
const PLAIN = 3
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

/** A shape that is drawn: the mark it stands for (-1 where only counts are known), and how many it covers. */
export interface Spot {
  x: number
  y: number
  rank: number
  mark: number
  count: number
  row: number
  /** What a column of bars counts, by class, and the times it is for. */
  column?: Column
}

/** Bars that stand on each other: how many of each class there are at a time in a row. */
export interface Column {
  row: number
  x: number
  width: number
  counts: number[]
  /** One of the marks that it counts; -1 where only counts are known. */
  mark: number
}

export interface Layout {
  spots: Spot[]
  /** Left, top, width, height of bars, for each class. */
  bars: number[][]
  columns: Column[]
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
  const layout: Layout = { spots: [], bars: [[], [], [], [], []], columns: [], radius: letters ? 7.5 : all ? 6 : 5, letters }
  const plain = new Buckets(place)
  const last = new Map<number, Spot>()
  for (const at of seen) {
    const [rank, row] = [marks.rank[at]!, place.rowOf[marks.lane[at]!]!]
    const x = xOf(marks.time[at]!, place)
    if (rank < shaped) plain.add(row, rank, x, at, 1, BUCKET)
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
    if (before.column && spot.column) widen(before.column, spot.column)
    return
  }
  last.set(key, spot)
  layout.spots.push(spot)
}

function widen(column: Column, more: Column): void {
  column.width = Math.max(column.width, more.x + more.width - column.x)
  more.counts.forEach((count, rank) => (column.counts[rank]! += count))
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
    const [x, left, width] = [xOf((start + end) / 2, place), xOf(start, place), xOf(end, place) - xOf(start, place)]
    if (rank < shaped) {
      plain.add(row, rank, x, -1, count, width)
      continue
    }
    const column = { row, x: left, width, counts: RANKS.map((_, at) => (at === rank ? count : 0)), mark: -1 }
    addSpot(layout, last, { x, y: yOf(row, place), rank, mark: -1, count, row, column })
  }
  layout.spots.push(...named)
  layout.letters = false
  layout.radius = 5.5
  plain.write(layout)
}

/** Columns beside the picture that are counted too, as bars may reach into it. */
const BESIDE = 64

/** Counts of plain marks by row, class and column of pixels: of the rows that are seen only, so that it is a small array. */
class Buckets {
  private readonly first: number
  private readonly columns: number
  private readonly counts: Uint32Array
  private readonly marks: Int32Array
  private width = BUCKET
  private most = 1

  constructor(private readonly place: Place) {
    const { area, scroll } = place
    this.first = Math.max(0, Math.floor(scroll / ROW) - 1)
    this.columns = Math.ceil(area.width / BUCKET) + 2 * BESIDE
    const slots = (Math.ceil(area.height / ROW) + 3) * PLAIN * this.columns
    this.counts = new Uint32Array(slots)
    this.marks = new Int32Array(slots)
  }

  add(row: number, rank: number, x: number, mark: number, count: number, width: number): void {
    this.width = Math.max(this.width, Math.min(width, 60))
    const column = Math.floor((x - this.place.area.left) / BUCKET) + BESIDE
    const slot = ((row - this.first) * PLAIN + rank) * this.columns + Math.max(0, Math.min(this.columns - 1, column))
    const sum = (this.counts[slot]! += count)
    this.marks[slot] = mark
    if (sum > this.most) this.most = sum
  }

  write(layout: Layout): void {
    for (let row = 0; row < this.counts.length / PLAIN / this.columns; row++) {
      for (let column = 0; column < this.columns; column++) this.writeColumn(layout, row, column)
    }
  }

  private writeColumn(layout: Layout, at: number, place: number): void {
    const row = at + this.first
    const x = this.place.area.left + (place - BESIDE) * BUCKET - (this.width - BUCKET) / 2
    let column: Column | null = null
    for (let rank = 0; rank < PLAIN; rank++) {
      const slot = (at * PLAIN + rank) * this.columns + place
      const count = this.counts[slot]!
      if (!count) continue
      const height = 3 + (Math.log2(count + 1) / Math.log2(this.most + 1)) * (ROW - 11)
      const bottom = yOf(row, this.place) + ROW / 2 - 4
      layout.bars[rank]!.push(x, bottom - height, this.width - 0.5, height)
      column ??= { row, x, width: this.width, counts: [0, 0, 0, 0, 0], mark: this.marks[slot]! }
      column.counts[rank]! += count
    }
    if (column) layout.columns.push(column)
  }
}

/** Gives the column of bars under a point or nearest to it within reach, as a spot for the worst that it counts. */
export function columnAt(layout: Layout, x: number, y: number, reach: number, place: Place): Spot | null {
  const row = Math.floor((y - place.area.top + place.scroll) / ROW)
  const distance = (one: Column) => Math.max(0, one.x - x, x - one.x - one.width)
  const near = layout.columns.filter((one) => one.row === row && distance(one) <= reach)
  const found = near.reduce<Column | null>((best, one) => (!best || distance(one) < distance(best) ? one : best), null)
  return found && spotOf(found, place)
}

/** Gives a column as a spot; where it counts one event only, as that event. */
export function spotOf(column: Column, place: Place): Spot {
  const { row, counts } = column
  const rank = counts.reduce((worst, count, at) => (count ? at : worst), 0)
  const count = counts.reduce((sum, one) => sum + one, 0)
  return { x: column.x + column.width / 2, y: yOf(row, place), rank, mark: count === 1 ? column.mark : -1, count, row, column }
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
