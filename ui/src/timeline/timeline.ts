/** The timeline: rows of entities, marks of events; it keeps what is drawn and says what was chosen. */

import { fill, h } from '../dom'
import { oneLine } from '../inert'
import { pathOf, type Lane, type Link, type Range, type TapioEvent } from '../model'
import { letterOf, numberOf, rankOf, RANKS, wordOf } from '../severity'
import { affectedBy, type Story } from '../story'
import { clock, parseTime, zone } from '../times'
import { Chart, TOP, type Focus, type Scene } from './chart'
import { Gestures } from './gestures'
import { Labels } from './labels'
import { columnAt, ROW, SIDES, spotAt, timeAt, xOf, yOf, type Spot } from './layout'
import type { Marks } from './marks'
import { arrange, keyOf, type Row } from './rows'
import { inRow, inTime, isSame, stops } from './steps'
import { Tip, type Known } from './tip'

export interface Listener {
  view(view: Range): void
  all(): void
  event(id: string): void
  entity(name: string): void
  announce(text: string): void
}

export interface Content {
  lanes: Lane[]
  /** Marks of the whole range, and those of the part in view where that was asked for separately. */
  all: Marks
  marks: Marks
  links: Link[]
}

export class TimelineView {
  readonly element: HTMLElement
  private readonly canvas = h('div', { class: 'canvas', 'aria-hidden': 'true' })
  private readonly surface = h('div', {
    class: 'surface', tabindex: 0, role: 'application', 'aria-label': 'Timeline of events',
    'aria-roledescription': 'timeline', 'aria-describedby': 'timeline-keys',
  })
  private readonly tip = new Tip()
  private readonly note = h('div', { class: 'timeline-note' })
  private readonly labels: Labels
  private readonly chart: Chart
  private readonly folded = new Set<string>()
  private content: Content | null = null
  private rows: Row[] = []
  private scene: Scene | null = null
  private story: Story | null = null
  private only = false
  private asked = 0
  /** What is pointed at: by the pointer's place, or by keys an event; it stays while the picture moves. */
  private pointer: { x: number; y: number; touch: boolean } | null = null
  private held = ''

  constructor(private readonly listener: Listener) {
    this.labels = new Labels((key) => this.fold(key), (name) => listener.entity(name), () => this.redraw())
    const keys = h('p', { id: 'timeline-keys', class: 'unseen' },
      'Left and right arrows move in time, plus and minus zoom, 0 shows all, n and p go to the next and the previous event, ' +
        'up and down to the rows above and below, Enter opens an event. The list shows the same events as a table.')
    this.element = h('div', { class: 'timeline' }, this.canvas, this.labels.element, this.surface, this.tip.element, this.note, keys)
    document.body.append(this.element) // ECharts needs a size; the page moves it to its place
    this.chart = new Chart(this.canvas, this.left + SIDES.left, (view) => listener.view(view))
    new Gestures(this.surface, this.moves())
    new ResizeObserver(() => this.resize()).observe(this.element)
  }

  private get left(): number {
    return this.element.clientWidth < 620 ? 118 : 250
  }

  show(content: Content, range: Range, view: Range): void {
    this.content = content
    const before = this.scene
    this.scene = {
      range, view, marks: content.marks, all: content.all, rowOf: new Int32Array(0), rows: 0, scroll: 0, affected: [],
      focus: [], links: [], others: [], selected: before?.selected ?? '', cursor: null,
    }
    this.tip.hide()
    this.arrange()
  }

  /** Moves in time, without a change of what there is. */
  move(range: Range, view: Range): void {
    if (!this.scene) return
    Object.assign(this.scene, { range, view, cursor: null })
    this.tip.hide()
    this.redraw()
  }

  tell(story: Story | null, only: boolean): void {
    this.story = story
    this.only = only && !!story
    this.arrange()
  }

  select(id: string): void {
    if (!this.scene || this.scene.selected === id) return
    this.scene.selected = id
    this.redraw()
  }

  restyle(): void {
    this.chart.restyle()
  }

  private arrange(): void {
    const { content, scene } = this
    if (!content || !scene) return
    const affected = this.story ? affectedBy(this.story) : new Set<string>()
    this.rows = arrange(content.lanes, content.all.counts(), affected, this.folded, this.only)
    scene.rowOf = new Int32Array(content.lanes.length).fill(-1)
    this.rows.forEach((row, at) => row.lanes.forEach((lane) => (scene.rowOf[lane] = at)))
    scene.rows = this.rows.length
    scene.affected = this.rows.flatMap((row, at) => (row.affected ? [at] : []))
    this.relate(scene, content)
    this.labels.show(this.rows)
    this.element.style.setProperty('--rows-height', `${TOP + this.rows.length * ROW}px`)
    this.redraw()
  }

  /** Finds the rows of the finding's events, and of what other findings link. */
  private relate(scene: Scene, content: Content): void {
    const byPath = new Map(content.lanes.map((lane, at) => [keyOf(lane.path), at]))
    const byName = new Map(content.lanes.map((lane, at) => [lane.path.at(-1), at]))
    const rowOf = (event: TapioEvent) => {
      const path = pathOf(event.entity)
      const lane = byPath.get(keyOf(path)) ?? byName.get(path.at(-1))
      return lane === undefined ? -1 : scene.rowOf[lane]!
    }
    const story = this.story
    scene.focus = story ? [...story.members].reverse().map((event) => focusOf(event, rowOf(event), event === story.root)).filter(({ row }) => row >= 0) : []
    const at = new Map(scene.focus.map((one) => [one.id, one]))
    const root = story?.root ? at.get(story.root.id) : undefined
    scene.links = root ? story!.impacts.map((one) => at.get(one.id)).filter((one): one is Focus => !!one).map((one) => [root.time, root.row, one.time, one.row]) : []
    scene.others = content.links.filter((link) => link[2] !== story?.finding.id).flatMap((link) => this.ends(link, scene))
  }

  private ends([from, to]: Link, scene: Scene): Scene['others'] {
    const { marks } = scene
    const [a, b] = [marks.places.get(from), marks.places.get(to)]
    if (a === undefined || b === undefined) return []
    const [rowA, rowB] = [scene.rowOf[marks.lane[a]!]!, scene.rowOf[marks.lane[b]!]!]
    return rowA < 0 || rowB < 0 ? [] : [[marks.time[a]!, rowA, marks.time[b]!, rowB]]
  }

  private fold(key: string): void {
    if (!this.folded.delete(key)) this.folded.add(key)
    this.arrange()
  }

  private redraw(): void {
    if (this.asked) return
    this.asked = requestAnimationFrame(() => {
      this.asked = 0
      this.paint()
    })
  }

  private paint(): void {
    const { scene } = this
    if (!scene || !this.element.clientHeight) return
    scene.scroll = this.labels.scroll
    this.chart.draw(scene)
    this.point(this.pointer ? this.find(this.pointer.x, this.pointer.y, this.pointer.touch) : this.heldSpot())
    this.element.dataset.dense = String(scene.marks.dense)
    this.element.dataset.spots = String(this.chart.drawn.spots.length)
    this.element.dataset.columns = String(this.chart.drawn.columns.length)
    const { start, end } = scene.view
    fill(this.note, this.rows.length ? null : 'Nothing happened in this time, or the search and filters leave it out.')
    this.surface.setAttribute('aria-label', `Timeline of ${scene.all.size} events of ${this.rows.length} entities; in view ${clock(start, end - start < 60_000)} to ${clock(end, end - start < 60_000)} ${zone(start)}`)
  }

  private resize(): void {
    this.element.style.setProperty('--labels', `${this.left}px`)
    this.chart.resize(this.left + SIDES.left)
    this.labels.render()
    this.redraw()
  }

  private moves() {
    const { listener } = this
    return {
      zoom: (factor: number, around: number) => this.zoom(factor, around),
      pan: (share: number) => this.pan(share),
      scroll: (pixels: number) => (this.labels.scroll += pixels),
      hover: (x: number, y: number, touch: boolean) => this.hover({ x, y, touch }),
      leave: () => this.hover(null),
      pick: (x: number, y: number, touch: boolean) => this.open(this.find(x, y, touch)),
      step: (direction: 1 | -1) => this.step(direction),
      row: (direction: 1 | -1) => this.stepRow(direction),
      open: () => this.open(this.scene?.cursor ?? null),
      all: () => listener.all(),
    }
  }

  zoom(factor: number, around = 0.5): void {
    if (!this.scene) return
    const { start, end } = this.scene.view
    const length = Math.min(90 * 86_400_000, Math.max(10, (end - start) * factor))
    const at = start + (end - start) * around
    this.listener.view({ start: at - length * around, end: at + length * (1 - around) })
  }

  pan(share: number): void {
    if (!this.scene) return
    const { start, end } = this.scene.view
    const shift = (end - start) * share
    this.listener.view({ start: start + shift, end: end + shift })
  }

  private find(x: number, y: number, touch: boolean): Spot | null {
    const { scene } = this
    if (!scene) return null
    const [left, top] = [this.chart.area.left + x, TOP + y]
    const place = this.chart.place()
    const reach = touch ? 22 : 11
    const focus = scene.focus.map((one, index) => ({
      x: xOf(one.time, place), y: yOf(one.row, place), rank: one.rank, mark: -2 - index, count: 1, row: one.row,
    }))
    const spots = { ...this.chart.drawn, spots: focus }
    const { drawn } = this.chart
    return spotAt(spots, left, top, reach) ?? spotAt(drawn, left, top, reach) ?? columnAt(drawn, left, top, reach / 2, place)
  }

  private hover(pointer: { x: number; y: number; touch: boolean } | null): void {
    this.pointer = pointer
    this.held = ''
    this.point(pointer && this.find(pointer.x, pointer.y, pointer.touch))
  }

  private heldSpot(): Spot | null {
    return this.held ? (this.chart.drawn.spots.find((one) => this.idOf(one) === this.held) ?? null) : (this.scene?.cursor ?? null)
  }

  private idOf(spot: Spot): string {
    return (spot.mark <= -2 ? this.scene!.focus[-2 - spot.mark]?.id : this.scene!.marks.marks[spot.mark]?.[5]) ?? ''
  }

  private open(spot: Spot | null): void {
    if (!spot) return
    const id = this.idOf(spot)
    const close = this.scene!.view.end - this.scene!.view.start < 50
    const parts = spot.mark === -1 || (spot.count > 1 && this.chart.drawn.spots.length > 200)
    if (parts && !close) this.zoom(0.15, (spot.x - this.chart.area.left) / this.chart.area.width)
    else if (id) this.listener.event(id)
  }

  private point(spot: Spot | null): void {
    const { scene } = this
    if (!scene || scene.cursor === spot || (scene.cursor && spot && isSame(scene.cursor, spot))) return
    scene.cursor = spot
    this.surface.classList.toggle('pointing', !!spot)
    if (spot) this.tip.show(spot, this.knownOf(spot), { width: this.element.clientWidth, height: this.element.clientHeight })
    else this.tip.hide()
    this.redraw()
  }

  private knownOf(spot: Spot): Known {
    const scene = this.scene!
    const entity = oneLine(this.rows[spot.row]?.name ?? '', 80)
    if (spot.mark >= 0) return { entity, mark: scene.marks.marks[spot.mark], among: [] }
    if (spot.mark <= -2) return { entity, event: this.story?.members.find((one) => one.id === this.idOf(spot)), among: [] }
    const place = this.chart.place()
    const { column } = spot
    if (!column) return { entity, among: [] }
    const times = { start: timeAt(column.x, place), end: timeAt(column.x + column.width, place) }
    return { entity, times, among: scene.marks.dense ? [] : scene.marks.within(times, (lane, rank) => scene.rowOf[lane] === spot.row && column.counts[rank]! > 0) }
  }

  private step(direction: 1 | -1): void {
    this.goTo(inTime(this.stops, this.scene?.cursor ?? null, direction))
  }

  private stepRow(direction: 1 | -1): void {
    const from = this.scene?.cursor
    if (!from) return this.step(direction)
    return this.goTo(inRow(this.stops, from, direction))
  }

  private get stops(): Spot[] {
    return stops(this.chart.drawn, this.chart.place())
  }

  private goTo(spot: Spot | undefined): void {
    if (!spot) return this.listener.announce('No further event in view')
    this.pointer = null
    this.held = this.idOf(spot)
    this.point({ ...spot })
    const mark = this.scene!.marks.marks[spot.mark]
    const entity = oneLine(this.rows[spot.row]?.name ?? '', 80)
    const when = clock(mark?.[1] ?? timeAt(spot.x, this.chart.place()))
    this.listener.announce(mark
      ? `${wordOf(mark[2])}, ${when}, ${entity}: ${oneLine(mark[6], 120) || mark[4]}`
      : `${spot.count} ${spot.count === 1 ? 'event' : 'events'}, the worst ${RANKS[spot.rank]!.word}, ${when}, ${entity}: Enter zooms in`)
    return undefined
  }
}

function focusOf(event: TapioEvent, row: number, root: boolean): Focus {
  return { id: event.id, time: parseTime(event.timestamp), rank: rankOf(numberOf(event.severity)), row, letter: letterOf(event.source), root }
}
