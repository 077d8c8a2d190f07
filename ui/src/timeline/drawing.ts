/** What is drawn of a frame, as elements of ECharts' custom series: many marks in one path, so that each frame has few elements. */

import type { CustomSeriesRenderItemReturn } from 'echarts/types/dist/shared'
import { graphic } from 'echarts/core'
import { cornersOf } from '../shapes'
import { RANKS } from '../severity'
import { ROW, SIDES, type Area, type Layout, type Spot } from './layout'

interface Points {
  points: number[]
  rank: number
  radius: number
}

/** Draws the shape of one severity at many points. */
const Shapes = graphic.extendShape({
  type: 'tapioShapes',
  shape: { points: [] as number[], rank: 0, radius: 6 },
  buildPath(context: CanvasRenderingContext2D, shape: unknown) {
    const { points, rank, radius } = shape as Points
    const corners = cornersOf(rank)
    for (let at = 0; at < points.length; at += 2) {
      const [x, y] = [points[at]!, points[at + 1]!]
      if (corners) polygon(context, x, y, radius, corners)
      else round(context, x, y, radius * (RANKS[rank]!.shape === 'dot' ? 0.78 : 0.85))
    }
  },
})

const Rectangles = graphic.extendShape({
  type: 'tapioRectangles',
  shape: { boxes: [] as number[] },
  buildPath(context: CanvasRenderingContext2D, shape: unknown) {
    const { boxes } = shape as { boxes: number[] }
    for (let at = 0; at < boxes.length; at += 4) context.rect(boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!)
  },
})

/** Draws curves with an arrow's head, each of four numbers: from x, y to x, y. */
const Arrows = graphic.extendShape({
  type: 'tapioArrows',
  shape: { ends: [] as number[] },
  buildPath(context: CanvasRenderingContext2D, shape: unknown) {
    const { ends } = shape as { ends: number[] }
    for (let at = 0; at < ends.length; at += 4) arrow(context, ends[at]!, ends[at + 1]!, ends[at + 2]!, ends[at + 3]!)
  },
})

graphic.registerShape('tapioShapes', Shapes)
graphic.registerShape('tapioRectangles', Rectangles)
graphic.registerShape('tapioArrows', Arrows)

function polygon(context: CanvasRenderingContext2D, x: number, y: number, radius: number, corners: readonly [number, number][]) {
  corners.forEach(([dx, dy], index) => {
    if (index) context.lineTo(x + dx * radius, y + dy * radius)
    else context.moveTo(x + dx * radius, y + dy * radius)
  })
  context.closePath()
}

function round(context: CanvasRenderingContext2D, x: number, y: number, radius: number) {
  context.moveTo(x + radius, y)
  context.arc(x, y, radius, 0, Math.PI * 2)
}

function arrow(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  const level = Math.abs(y1 - y0) < 1
  if (level && Math.abs(x1 - x0) < 24) return
  if (!level && Math.abs(x1 - x0) < 60) return steep(context, x0, y0, x1, y1)
  const lift = level ? -Math.min(40, 12 + Math.abs(x1 - x0) * 0.15) : 0
  const bend = Math.max(14, Math.abs(x1 - x0) * 0.5)
  const [toX, toY] = [x1 - (level ? 5 : 9), y1 + (level ? -8 : 0)]
  context.moveTo(x0, y0)
  context.bezierCurveTo(x0 + bend * (level ? 0.3 : 1), y0 + lift, toX - bend * (level ? 0.3 : 1), y1 + lift, toX, toY)
  context.moveTo(toX - 6, toY - (level ? 5 : 4))
  context.lineTo(toX, toY)
  context.lineTo(toX - (level ? 1 : 6), toY - (level ? 7 : -4))
}

/** Draws an arrow between rows at nearly the same time: it leaves and arrives from above or below. */
function steep(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number) {
  const down = y1 > y0 ? 1 : -1
  const [from, to, middle] = [y0 + down * 11, y1 - down * 10, (y0 + y1) / 2]
  context.moveTo(x0, from)
  context.bezierCurveTo(x0, middle, x1, middle, x1, to)
  context.moveTo(x1 - 4, to - down * 6)
  context.lineTo(x1, to)
  context.lineTo(x1 + 4, to - down * 6)
}

export type Part = NonNullable<CustomSeriesRenderItemReturn>

export interface Colors {
  ranks: string[]
  ink: string[]
  surface: string
  stripe: string
  text: string
  dim: string
  line: string
  accent: string
}

export function rectangles(boxes: number[], fill: string, opacity = 1): Part {
  return { type: 'tapioRectangles', silent: true, shape: { boxes }, style: { fill, opacity } } as unknown as Part
}

export function arrows(ends: number[], stroke: string, lineWidth: number, opacity: number): Part {
  const style = { stroke, lineWidth, opacity, fill: 'none' }
  return { type: 'tapioArrows', silent: true, shape: { ends }, style } as unknown as Part
}

export function label(text: string, x: number, y: number, fill: string, font: string, align: 'center' | 'left' = 'center'): Part {
  return { type: 'text', silent: true, style: { text, x, y, fill, font, align, verticalAlign: 'middle' } } as Part
}

function shapes(spots: readonly Spot[], rank: number, radius: number, colors: Colors): Part {
  const points = spots.filter((one) => one.rank === rank).flatMap((one) => [one.x, one.y])
  const ring = RANKS[rank]!.shape === 'ring'
  const style = {
    fill: ring ? colors.surface : colors.ranks[rank],
    stroke: ring ? colors.ranks[rank] : colors.surface,
    lineWidth: ring ? 1.8 : 1,
  }
  return { type: 'tapioShapes', silent: true, shape: { points, rank, radius }, style } as unknown as Part
}

/** Gives the area with the room beside it, which belongs to no time. */
export function withSides({ left, top, width, height }: Area): { x: number; y: number; width: number; height: number } {
  return { x: left - SIDES.left, y: top, width: width + SIDES.left + SIDES.right, height }
}

/** Draws the background of rows: every other one, and what a finding affects. */
export function stripes(area: Area, rows: number[], affected: number[], colors: Colors): Part[] {
  const { x, width } = withSides(area)
  const box = (top: number) => [x, top, width, ROW]
  return [
    rectangles(rows.flatMap(box), colors.stripe),
    rectangles(affected.flatMap((top) => [x, top, 3, ROW]), colors.accent),
  ]
}

/** Draws marks: bars of what is plain, shapes from the least to the worst, letters of sources, numbers of what is covered. */
export function marks(layout: Layout, letterOf: (spot: Spot) => string, colors: Colors): Part[] {
  const parts = layout.bars.map((boxes, rank) => rectangles(boxes, colors.ranks[rank]!, 0.75))
  for (let rank = 0; rank < RANKS.length; rank++) parts.push(shapes(layout.spots, rank, layout.radius, colors))
  for (const spot of layout.letters ? layout.spots : []) {
    parts.push(label(letterOf(spot), spot.x, spot.y + (spot.rank === 2 ? 1.5 : 0.5), colors.ink[spot.rank]!, LETTER))
  }
  const many = layout.spots.filter((one, at) => one.count > 1 && hasRoom(layout.spots, at, layout.radius))
  for (const spot of many.length <= 120 ? many : []) {
    parts.push(label(`×${spot.count}`, spot.x + layout.radius + 3, spot.y, colors.dim, NUMBER, 'left'))
  }
  return parts
}

/** Tells whether there is room for a number to the right of a spot. */
function hasRoom(spots: readonly Spot[], at: number, radius: number): boolean {
  const { x, row } = spots[at]!
  return spots.length > 1000 || !spots.some((one) => one.row === row && one.x > x && one.x - x < radius * 2 + 16)
}

const LETTER = '700 9px ui-sans-serif, system-ui, sans-serif'
const NUMBER = '600 9px ui-sans-serif, system-ui, sans-serif'

/** Draws rings around spots: what is chosen, hovered over, or part of the finding. */
export function rings(spots: readonly { x: number; y: number }[], radius: number, stroke: string, lineWidth: number): Part[] {
  return spots.map(
    (one) =>
      ({
        type: 'circle', silent: true, shape: { cx: one.x, cy: one.y, r: radius }, style: { stroke, lineWidth, fill: 'none' },
      }) as Part,
  )
}
