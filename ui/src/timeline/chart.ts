/**
 * The timeline's picture, drawn by ECharts: an overview that chooses the part to see, an axis of time, and rows of marks.
 *
 * It draws what it is given; timeline.ts decides what that is, and gestures.ts moves it.
 */

import { CustomChart } from 'echarts/charts'
import { DataZoomSliderComponent, GridComponent } from 'echarts/components'
import { init, use, type ECharts } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import type { Range } from '../model'
import { RANKS, letterOf } from '../severity'
import { isUtc, tick } from '../times'
import * as drawing from './drawing'
import { lay, ROW, SIDES, xOf, yOf, type Area, type Layout, type Place, type Spot } from './layout'
import type { Marks } from './marks'

use([CustomChart, DataZoomSliderComponent, GridComponent, CanvasRenderer])

export const TOP = 84
const OVERVIEW = { top: 8, height: 38 }
const BUCKETS = 160

/** An event of the finding that is looked at: where it is drawn whatever else is there. */
export interface Focus {
  id: string
  time: number
  rank: number
  row: number
  letter: string
  root: boolean
}

export interface Scene {
  range: Range
  view: Range
  marks: Marks
  /** Marks by which the overview counts: those of the whole range. */
  all: Marks
  rowOf: Int32Array
  rows: number
  scroll: number
  affected: number[]
  focus: Focus[]
  /** Pairs of times and rows: what led to what, of the finding looked at and of others. */
  links: [time: number, row: number, time: number, row: number][]
  others: [time: number, row: number, time: number, row: number][]
  selected: string
  cursor: Spot | null
}

export class Chart {
  private readonly chart: ECharts
  private colors: drawing.Colors
  private scene: Scene | null = null
  private layout: Layout = { spots: [], bars: [], columns: [], radius: 6, letters: false }
  private counted: { marks: Marks; range: Range; counts: Uint32Array } | null = null

  constructor(
    private readonly host: HTMLElement,
    private left: number,
    onSlide: (view: Range) => void,
  ) {
    this.chart = init(host, null, { renderer: 'canvas' })
    this.colors = colorsOf(host)
    this.chart.setOption(this.frame())
    this.chart.on('datazoom', () => this.slid(onSlide))
  }

  get area(): Area {
    const { clientWidth, clientHeight } = this.host
    return { left: this.left, top: TOP, width: Math.max(50, clientWidth - this.left - SIDES.right), height: Math.max(0, clientHeight - TOP) }
  }

  place(scene = this.scene!): Place {
    return { area: this.area, view: scene.view, scroll: scene.scroll, rowOf: scene.rowOf, rows: scene.rows }
  }

  get drawn(): Layout {
    return this.layout
  }

  restyle(): void {
    this.colors = colorsOf(this.host)
    this.chart.setOption(this.frame())
    if (this.scene) this.draw(this.scene)
  }

  resize(left: number): void {
    this.left = left
    this.chart.resize()
    this.chart.setOption(this.frame())
    if (this.scene) this.draw(this.scene)
  }

  draw(scene: Scene): void {
    this.scene = scene
    const { view, range } = scene
    const length = range.end - range.start
    this.chart.setOption({
      xAxis: [{ min: view.start, max: view.end }, { min: range.start, max: range.end }, { min: range.start, max: range.end }],
      dataZoom: [{ start: ((view.start - range.start) / length) * 100, end: ((view.end - range.start) / length) * 100 }],
      series: [{ data: [[view.start, 0]] }, { data: [[range.start, 0]] }],
    })
  }

  private slid(onSlide: (view: Range) => void): void {
    if (!this.scene) return
    const { range } = this.scene
    const zoom = (this.chart.getOption().dataZoom as { start: number; end: number }[])[0]!
    const at = (percent: number) => range.start + ((range.end - range.start) * percent) / 100
    onSlide({ start: at(zoom.start), end: at(zoom.end) })
  }

  private frame(): Record<string, unknown> {
    const { colors, left } = this
    const sides = { left, right: SIDES.right }
    const hidden = { axisLabel: { show: false }, axisTick: { show: false }, axisLine: { show: false }, splitLine: { show: false } }
    const axis = { type: 'time', axisPointer: { show: false } }
    const blank = { type: 'value', min: 0, max: 1, ...hidden }
    return {
      animation: false,
      useUTC: isUtc(),
      grid: [{ ...sides, top: TOP, bottom: 0 }, { ...sides, ...OVERVIEW }],
      xAxis: [
        { ...axis, gridIndex: 0, position: 'top', splitNumber: this.area.width < 500 ? 4 : 8, ...this.ticks() },
        { ...axis, gridIndex: 1, ...hidden },
        { ...axis, gridIndex: 1, ...hidden },
      ],
      yAxis: [{ ...blank, gridIndex: 0 }, { ...blank, gridIndex: 1 }],
      dataZoom: [{ type: 'slider', xAxisIndex: 2, ...sides, ...OVERVIEW, ...sliderStyle(colors) }],
      series: [
        { type: 'custom', xAxisIndex: 0, yAxisIndex: 0, clip: false, silent: true, data: [], renderItem: () => this.renderRows() },
        { type: 'custom', xAxisIndex: 1, yAxisIndex: 1, clip: true, silent: true, data: [], renderItem: () => this.renderOverview() },
      ],
    }
  }

  private ticks(): Record<string, unknown> {
    const { colors } = this
    const distance = () => (this.scene ? (this.scene.view.end - this.scene.view.start) / 10 : 60_000)
    return {
      axisLabel: { color: colors.dim, fontSize: 11, hideOverlap: true, formatter: (value: number) => tick(value, distance()) },
      axisLine: { lineStyle: { color: colors.line } },
      axisTick: { lineStyle: { color: colors.line } },
      splitLine: { show: true, lineStyle: { color: colors.line, opacity: 0.6 } },
    }
  }

  private renderRows(): unknown {
    const { scene, colors } = this
    if (!scene) return { type: 'group', children: [] }
    const place = this.place()
    this.layout = lay(scene.marks, place)
    const children = [
      ...this.background(scene, place),
      drawing.arrows(scene.others.flatMap((ends) => points(ends, place)), colors.dim, 1, 0.35),
      ...drawing.marks(this.layout, (spot) => this.letter(scene, spot), colors),
      ...this.foreground(scene, place),
    ]
    return { type: 'group', children, clipPath: { type: 'rect', shape: drawing.withSides(place.area) } }
  }

  private letter(scene: Scene, spot: Spot): string {
    return letterOf(scene.marks.marks[spot.mark]?.[3] ?? '')
  }

  private background(scene: Scene, place: Place): drawing.Part[] {
    const seen = [...Array(scene.rows).keys()].filter((row) => row % 2 === 1)
    const top = (row: number) => yOf(row, place) - ROW / 2
    return drawing.stripes(place.area, seen.map(top), scene.affected.map(top), this.colors)
  }

  /** Draws the finding's events and links above all marks, so that they are seen in the densest view. */
  private foreground(scene: Scene, place: Place): drawing.Part[] {
    const { colors } = this
    const spots = scene.focus.map((one, mark) => ({
      x: xOf(one.time, place), y: yOf(one.row, place), rank: one.rank, mark, count: 1, row: one.row,
    }))
    const layout = { spots, bars: [], columns: [], radius: 7.5, letters: true }
    const parts = [
      drawing.arrows(scene.links.flatMap((ends) => points(ends, place)), colors.accent, 1.6, 0.95),
      ...drawing.marks(layout, (spot) => scene.focus[spot.mark]!.letter, colors),
      ...drawing.rings(spots.filter((one) => scene.focus[one.mark]!.root), 12, colors.accent, 2),
    ]
    const at = scene.marks.places.get(scene.selected)
    const chosen = scene.focus.find((one) => one.id === scene.selected)
    const row = chosen?.row ?? (at === undefined ? -1 : scene.rowOf[scene.marks.lane[at]!]!)
    const time = chosen?.time ?? (at === undefined ? NaN : scene.marks.time[at]!)
    if (row >= 0) parts.push(...drawing.rings([{ x: xOf(time, place), y: yOf(row, place) }], 11, colors.text, 2))
    if (scene.cursor) parts.push(...drawing.rings([scene.cursor], 10, colors.text, 1.2))
    return parts
  }

  private renderOverview(): unknown {
    const { scene, colors } = this
    if (!scene) return { type: 'group', children: [] }
    const { left, width } = this.area
    const counts = this.countsOf(scene)
    const totals = Array.from({ length: BUCKETS }, (_, at) => RANKS.reduce((sum, _rank, rank) => sum + counts[rank * BUCKETS + at]!, 0))
    const full = Math.log2(Math.max(...totals) + 1) || 1
    const boxes: number[][] = RANKS.map(() => [])
    totals.forEach((total, at) => stack(boxes, counts, at, total, { full, left, step: width / BUCKETS }))
    return { type: 'group', children: boxes.map((one, rank) => drawing.rectangles(one, colors.ranks[rank]!)) }
  }

  private countsOf(scene: Scene): Uint32Array {
    const known = this.counted
    if (known?.marks === scene.all && known.range.start === scene.range.start && known.range.end === scene.range.end) return known.counts
    const counts = scene.all.histogram(scene.range, BUCKETS)
    this.counted = { marks: scene.all, range: scene.range, counts }
    return counts
  }
}

function points([fromTime, fromRow, toTime, toRow]: Scene['links'][number], place: Place): number[] {
  return [xOf(fromTime, place), yOf(fromRow, place), xOf(toTime, place), yOf(toRow, place)]
}

/** Piles up one column: its height tells how many (by logarithm), its parts which (in proportion, the bad ones visible always). */
function stack(
  boxes: number[][],
  counts: Uint32Array,
  at: number,
  total: number,
  { full, left, step }: { full: number; left: number; step: number },
): void {
  if (!total) return
  const height = 3 + (Math.log2(total + 1) / full) * (OVERVIEW.height - 5)
  const shares = RANKS.map((_, rank) => counts[rank * BUCKETS + at]!).map((count) => (count ? Math.max(2, (count / total) * height) : 0))
  const scale = height / shares.reduce((sum, one) => sum + one, 0)
  let bottom = OVERVIEW.top + OVERVIEW.height
  shares.forEach((share, rank) => {
    if (!share) return
    bottom -= share * scale
    boxes[rank]!.push(left + at * step, bottom, Math.max(1, step - 0.5), share * scale)
  })
}

function sliderStyle(colors: drawing.Colors): Record<string, unknown> {
  return {
    filterMode: 'none',
    brushSelect: true,
    showDetail: false,
    showDataShadow: false,
    backgroundColor: 'transparent',
    borderColor: colors.line,
    fillerColor: `${colors.accent}1c`,
    handleSize: '70%',
    handleStyle: { color: colors.surface, borderColor: colors.dim },
    moveHandleSize: 4,
    moveHandleStyle: { color: colors.dim, opacity: 0.4 },
    brushStyle: { color: colors.accent, opacity: 0.25 },
    emphasis: { handleStyle: { borderColor: colors.accent }, moveHandleStyle: { color: colors.accent } },
    zoomLock: false,
    throttle: 16,
  }
}

function colorsOf(host: HTMLElement): drawing.Colors {
  const style = getComputedStyle(host)
  const get = (name: string) => style.getPropertyValue(`--${name}`).trim()
  return {
    ranks: RANKS.map((rank) => get(rank.key)),
    ink: RANKS.map((rank) => get(`${rank.key}-ink`)),
    surface: get('surface'),
    stripe: get('stripe'),
    text: get('text'),
    dim: get('dim'),
    line: get('line'),
    accent: get('accent'),
  }
}
