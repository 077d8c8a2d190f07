/** The marks of a timeline in columns, so that fifty thousand are searched and counted within a frame. */

import type { Density, Mark, Range, TimelineAnswer } from '../model'
import { rankOf } from '../severity'
import type { LaneCounts } from './rows'

export class Marks {
  readonly lane: Int32Array
  readonly time: Float64Array
  readonly rank: Uint8Array
  readonly places = new Map<string, number>()

  private constructor(
    readonly marks: Mark[],
    readonly density: Density[],
    readonly lanes: number,
  ) {
    const count = marks.length
    this.lane = new Int32Array(count)
    this.time = new Float64Array(count)
    this.rank = new Uint8Array(count)
    marks.forEach((mark, index) => {
      this.lane[index] = mark[0]
      this.time[index] = mark[1]
      this.rank[index] = rankOf(mark[2])
      this.places.set(mark[5], index)
    })
  }

  /** Takes what was answered; findings are left out, for their root causes stand in the same places. */
  static of(answer: TimelineAnswer): Marks {
    const marks = answer.marks.filter((mark) => mark[4] !== 'correlation').sort((a, b) => a[1] - b[1])
    return new Marks(marks, answer.density, answer.lanes.length)
  }

  /** Gives the first place whose time is not before `time`. */
  after(time: number): number {
    let [low, high] = [0, this.time.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.time[middle]! < time) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Gives the marks of a time whose lane and class are wanted. */
  within({ start, end }: Range, isWanted: (lane: number, rank: number) => boolean): Mark[] {
    const found: Mark[] = []
    for (let at = this.after(start), last = this.after(end); at < last; at++) {
      if (isWanted(this.lane[at]!, this.rank[at]!)) found.push(this.marks[at]!)
    }
    return found
  }

  /** Whether these are counts, with only the marks that findings name. */
  get dense(): boolean {
    return this.density.length > 0
  }

  get size(): number {
    return this.dense ? this.density.reduce((sum, one) => sum + one[4], 0) : this.marks.length
  }

  counts(): LaneCounts {
    const worst = new Uint8Array(this.lanes)
    const count = new Uint32Array(this.lanes)
    const add = (lane: number, severity: number, more: number) => {
      worst[lane] = Math.max(worst[lane]!, severity)
      count[lane]! += more
    }
    for (const mark of this.dense ? [] : this.marks) add(mark[0], mark[2], 1)
    for (const one of this.density) add(one[0], one[3], one[4])
    return { worst, count }
  }

  /** Counts by time and class: `buckets` numbers for each of the five classes, one class after the other. */
  histogram(range: Range, buckets: number): Uint32Array {
    const counts = new Uint32Array(buckets * 5)
    const scale = buckets / (range.end - range.start)
    const add = (time: number, rank: number, more: number) => {
      const bucket = Math.floor((time - range.start) * scale)
      if (bucket >= 0 && bucket < buckets) counts[rank * buckets + bucket]! += more
    }
    for (let at = 0; at < this.time.length && !this.dense; at++) add(this.time[at]!, this.rank[at]!, 1)
    for (const one of this.density) add((one[1] + one[2]) / 2, rankOf(one[3]), one[4])
    return counts
  }
}
