/** The rows of the timeline: lanes as a tree from the node down, folded where the reader folded them. */

import type { Lane } from '../model'

export interface Row {
  key: string
  depth: number
  /** The last step of the path: `pod/prod/web-0`. */
  name: string
  /** Lanes whose marks this row shows: its own, and when folded those of all below. */
  lanes: number[]
  parent: boolean
  folded: boolean
  affected: boolean
  worst: number
  count: number
}

interface Branch {
  key: string
  name: string
  lane: number
  children: Map<string, Branch>
  worst: number
  count: number
  affected: boolean
}

export interface LaneCounts {
  worst: Uint8Array
  count: Uint32Array
}

const SEPARATOR = '\u001f'

export function keyOf(path: readonly string[]): string {
  return path.join(SEPARATOR)
}

/** Arranges lanes: what a finding affects first, then the worst, then by name. */
export function arrange(
  lanes: readonly Lane[],
  counts: LaneCounts,
  affected: ReadonlySet<string>,
  folded: ReadonlySet<string>,
  only: boolean,
): Row[] {
  const root = branch('', '')
  lanes.forEach((lane, index) => {
    const concerned = isAffected(lane, affected)
    if (only && !concerned) return
    place(root, lane, index, counts, concerned)
  })
  const rows: Row[] = []
  for (const one of ordered(root)) unroll(one, 0, folded, rows)
  return rows
}

function isAffected(lane: Lane, affected: ReadonlySet<string>): boolean {
  return affected.has(lane.path.at(-1) ?? '')
}

function branch(key: string, name: string): Branch {
  return { key, name, lane: -1, children: new Map(), worst: 0, count: 0, affected: false }
}

function place(root: Branch, lane: Lane, index: number, counts: LaneCounts, concerned: boolean): void {
  const path = lane.path.length ? lane.path : [lane.name]
  let at = root
  path.forEach((name, depth) => {
    let next = at.children.get(name)
    if (!next) at.children.set(name, (next = branch(keyOf(path.slice(0, depth + 1)), name)))
    next.worst = Math.max(next.worst, counts.worst[index] ?? 0)
    next.count += counts.count[index] ?? 0
    next.affected ||= concerned
    at = next
  })
  at.lane = index
}

function ordered(parent: Branch): Branch[] {
  return [...parent.children.values()].sort(
    (a, b) => Number(b.affected) - Number(a.affected) || b.worst - a.worst || (a.name < b.name ? -1 : 1),
  )
}

function unroll(one: Branch, depth: number, folded: ReadonlySet<string>, rows: Row[]): void {
  const shut = folded.has(one.key) && one.children.size > 0
  const { key, name, worst, count, affected } = one
  const lanes = shut ? lanesOf(one) : one.lane >= 0 ? [one.lane] : []
  rows.push({ key, name, depth, lanes, parent: one.children.size > 0, folded: shut, affected, worst, count })
  if (!shut) for (const child of ordered(one)) unroll(child, depth + 1, folded, rows)
}

function lanesOf(one: Branch): number[] {
  const own = one.lane >= 0 ? [one.lane] : []
  return [...own, ...[...one.children.values()].flatMap(lanesOf)]
}
