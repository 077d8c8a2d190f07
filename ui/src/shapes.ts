/** The shapes of severities, one definition for canvas and documents. */

import { svg } from './dom'
import { RANKS, rankOf, numberOf } from './severity'

/** Corners around the origin for a radius of one; none for what is round. */
const CORNERS: Record<string, readonly [number, number][]> = {
  triangle: [[0, -1.1], [1.08, 0.85], [-1.08, 0.85]],
  diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  octagon: [[0.46, -1.1], [1.1, -0.46], [1.1, 0.46], [0.46, 1.1], [-0.46, 1.1], [-1.1, 0.46], [-1.1, -0.46], [-0.46, -1.1]],
}

export function cornersOf(rank: number): readonly [number, number][] | null {
  return CORNERS[RANKS[rank]!.shape] ?? null
}

/** Makes a small picture of a severity; its word has to stand beside it or be its label. */
export function severityIcon(severity: string | number, label = ''): SVGElement {
  const rank = rankOf(typeof severity === 'number' ? severity : numberOf(severity))
  const corners = cornersOf(rank)
  const shape = corners
    ? svg('polygon', { points: corners.map(([x, y]) => `${(8 + x * 6).toFixed(1)},${(8 + y * 6).toFixed(1)}`).join(' ') })
    : svg('circle', { cx: 8, cy: 8, r: RANKS[rank]!.shape === 'dot' ? 4 : 5 })
  const names = label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': 'true' }
  return svg('svg', { class: `rank rank-${RANKS[rank]!.key}`, viewBox: '0 0 16 16', width: 14, height: 14, ...names }, shape)
}
