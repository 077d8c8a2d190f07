/** What is known of a range: marks or counts, a closer look at a part of it, and what came since. */

import { oneLine } from './inert'
import { pathOf, type Range, type TapioEvent, type TimelineAnswer } from './model'
import { numberOf } from './severity'
import { parseTime, rfc3339 } from './times'
import { Marks } from './timeline/marks'
import { keyOf } from './timeline/rows'
import type { Content } from './timeline/timeline'

/** As many marks are drawn; of more the agent gives counts. */
export const MOST = 50_000

export class Knowledge {
  private detail: { range: Range; answer: TimelineAnswer } | null = null
  private readonly seen = new Set<string>()

  constructor(private readonly answer: TimelineAnswer) {
    for (const mark of answer.marks) this.seen.add(mark[5])
  }

  get total(): number {
    return this.answer.total
  }

  /** Tells whether it covers a range; a little less at the end, as ranges that end now do. */
  covers(range: Range): boolean {
    return range.start >= parseTime(this.answer.since) - 2000 && range.end <= parseTime(this.answer.until) + 60_000
  }

  /** Tells whether only counts are known of a part, so that a closer look would show more. */
  isVague({ start, end }: Range): boolean {
    if (!this.answer.density.length) return false
    const known = this.detail
    return !(known && known.range.start <= start && known.range.end >= end && !known.answer.density.length)
  }

  /** Takes what was answered for a part of the range, in terms of the lanes that are shown already. */
  lookCloser(range: Range, detail: TimelineAnswer): void {
    const { lanes } = this.answer
    const places = this.places()
    const target = detail.lanes.map((lane) => {
      const key = keyOf(lane.path)
      if (!places.has(key)) places.set(key, lanes.push(lane) - 1)
      return places.get(key)!
    })
    const marks = detail.marks.map(([lane, ...rest]): TimelineAnswer['marks'][number] => [target[lane]!, ...rest])
    const density = detail.density.map(([lane, ...rest]): TimelineAnswer['density'][number] => [target[lane]!, ...rest])
    this.detail = { range, answer: { ...detail, lanes, marks, density } }
  }

  content(): Content {
    const { lanes, links } = this.answer
    const all = Marks.of(this.answer)
    if (!this.detail) return { lanes, all, marks: all, links }
    return { lanes, all, marks: Marks.of({ ...this.detail.answer, lanes }), links: [...links, ...this.detail.answer.links] }
  }

  /** Adds events as they come, up to `until`; gives those that were not known. The oldest marks go where they are too many. */
  add(events: readonly TapioEvent[], until: number): TapioEvent[] {
    const fresh = events.filter((event) => event.type !== 'correlation' && !this.seen.has(event.id))
    const places = this.places()
    for (const event of fresh) this.insert(event, places)
    this.answer.until = rfc3339(until)
    const { marks } = this.answer
    if (marks.length > MOST) this.answer.marks = marks.sort((a, b) => a[1] - b[1]).slice(-MOST)
    if (this.seen.size > 4 * MOST) this.forget()
    return fresh
  }

  private forget(): void {
    this.seen.clear()
    for (const mark of this.answer.marks) this.seen.add(mark[5])
  }

  private places(): Map<string, number> {
    return new Map(this.answer.lanes.map((lane, at) => [keyOf(lane.path), at]))
  }

  private insert(event: TapioEvent, places: Map<string, number>): void {
    const { answer } = this
    const path = pathOf(event.entity)
    const key = keyOf(path)
    const { type, name, namespace } = event.entity
    if (!places.has(key)) places.set(key, answer.lanes.push({ path, type, name, namespace }) - 1)
    const [lane, time, severity] = [places.get(key)!, parseTime(event.timestamp), numberOf(event.severity)]
    this.seen.add(event.id)
    answer.total++
    if (answer.density.length) answer.density.push([lane, time, time, severity, 1])
    else answer.marks.push([lane, time, severity, event.source, event.type, event.id, oneLine(event.title || event.description || '', 160)])
  }
}
