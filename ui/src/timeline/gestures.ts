/** Mouse, touch and keys over the timeline, turned into what they ask for. */

export interface Moves {
  /** Zooms by a factor (below one: closer) around a point, given as a share of the width. */
  zoom(factor: number, around: number): void
  /** Moves by a share of the width; positive is later. */
  pan(share: number): void
  scroll(pixels: number): void
  hover(x: number, y: number, touch: boolean): void
  leave(): void
  pick(x: number, y: number, touch: boolean): void
  /** Goes to the next (1) or previous (-1) event. */
  step(direction: 1 | -1): void
  /** Goes to the event nearest in the row below (1) or above (-1). */
  row(direction: 1 | -1): void
  open(): void
  all(): void
}

interface Point {
  x: number
  y: number
}

export class Gestures {
  private readonly down = new Map<number, Point>()
  private moved = 0
  private lastTap = { at: 0, x: 0 }

  constructor(
    private readonly surface: HTMLElement,
    private readonly moves: Moves,
  ) {
    surface.addEventListener('wheel', (event) => this.wheel(event), { passive: false })
    surface.addEventListener('pointerdown', (event) => this.press(event))
    surface.addEventListener('pointermove', (event) => this.move(event))
    surface.addEventListener('pointerup', (event) => this.release(event))
    surface.addEventListener('pointercancel', (event) => this.down.delete(event.pointerId))
    surface.addEventListener('pointerleave', () => moves.leave())
    surface.addEventListener('keydown', (event) => this.key(event))
  }

  private at(event: MouseEvent): Point {
    const box = this.surface.getBoundingClientRect()
    return { x: event.clientX - box.left - this.surface.clientLeft, y: event.clientY - box.top }
  }

  private get width(): number {
    return this.surface.clientWidth || 1
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault()
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit]
    if (event.shiftKey) this.moves.scroll(dy || dx)
    else if (Math.abs(dx) > Math.abs(dy)) this.moves.pan(dx / this.width)
    else this.moves.zoom(Math.exp(Math.max(-120, Math.min(120, dy)) * (event.ctrlKey ? 0.01 : 0.003)), this.at(event).x / this.width)
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0) return
    if (this.down.size === 0) this.moved = 0
    this.down.set(event.pointerId, this.at(event))
    this.surface.setPointerCapture(event.pointerId)
    this.surface.focus({ preventScroll: true })
  }

  private move(event: PointerEvent): void {
    const now = this.at(event)
    const before = this.down.get(event.pointerId)
    if (!before) return this.moves.hover(now.x, now.y, false)
    const other = [...this.down].find(([id]) => id !== event.pointerId)?.[1]
    this.down.set(event.pointerId, now)
    this.moved += Math.hypot(now.x - before.x, now.y - before.y)
    if (other) return this.pinch(before, now, other)
    if (this.moved < 4) return undefined
    this.moves.leave()
    this.moves.pan((before.x - now.x) / this.width)
    if (event.pointerType === 'mouse') this.moves.scroll(before.y - now.y)
    return undefined
  }

  private pinch(before: Point, now: Point, other: Point): void {
    const [was, is] = [Math.max(20, Math.abs(before.x - other.x)), Math.max(20, Math.abs(now.x - other.x))]
    this.moves.zoom(was / is, other.x / this.width)
  }

  private release(event: PointerEvent): void {
    const touch = event.pointerType !== 'mouse'
    if (!this.down.delete(event.pointerId) || this.moved >= 6 || this.down.size) return
    const { x, y } = this.at(event)
    const again = event.timeStamp - this.lastTap.at < 350 && Math.abs(x - this.lastTap.x) < 12
    this.lastTap = { at: again ? 0 : event.timeStamp, x }
    if (again) this.moves.zoom(0.3, x / this.width)
    else this.moves.pick(x, y, touch)
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const act = this.actions[event.key]
    if (!act) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }

  private readonly actions: Record<string, () => void> = {
    ArrowLeft: () => this.moves.pan(-0.15),
    ArrowRight: () => this.moves.pan(0.15),
    PageUp: () => this.moves.pan(-0.8),
    PageDown: () => this.moves.pan(0.8),
    '+': () => this.moves.zoom(0.6, 0.5),
    '=': () => this.moves.zoom(0.6, 0.5),
    '-': () => this.moves.zoom(1 / 0.6, 0.5),
    _: () => this.moves.zoom(1 / 0.6, 0.5),
    '0': () => this.moves.all(),
    Home: () => this.moves.all(),
    n: () => this.moves.step(1),
    p: () => this.moves.step(-1),
    ArrowDown: () => this.moves.row(1),
    ArrowUp: () => this.moves.row(-1),
    Enter: () => this.moves.open(),
  }
}
