/** Where the keys go from one mark to the next; among bars only where there is nothing else. */

import { spotOf, type Layout, type Place, type Spot } from './layout'

/** Gives what the keys go through. */
export function stops(layout: Layout, place: Place): Spot[] {
  return layout.spots.length ? layout.spots : layout.columns.map((one) => spotOf(one, place))
}

export function isSame(one: Spot, other: Spot): boolean {
  return one.row === other.row && one.mark === other.mark && one.rank === other.rank && Math.abs(one.x - other.x) < 0.01
}

/** Gives the next (1) or previous (-1) in time; the first or last where none was chosen. */
export function inTime(spots: readonly Spot[], cursor: Spot | null, direction: 1 | -1): Spot | undefined {
  const sorted = [...spots].sort((a, b) => a.x - b.x || a.row - b.row || a.rank - b.rank)
  const at = cursor ? sorted.findIndex((one) => isSame(one, cursor)) : -1
  return sorted[at < 0 ? (direction > 0 ? 0 : sorted.length - 1) : at + direction]
}

/** Gives the nearest in time in the next row below (1) or above (-1) that has any. */
export function inRow(spots: readonly Spot[], from: Spot, direction: 1 | -1): Spot | undefined {
  const further = spots.filter((one) => (one.row - from.row) * direction > 0)
  const next = further.reduce((row, one) => (direction > 0 ? Math.min(row, one.row) : Math.max(row, one.row)), direction > 0 ? Infinity : -1)
  return further.filter((one) => one.row === next).sort((a, b) => Math.abs(a.x - from.x) - Math.abs(b.x - from.x))[0]
}
