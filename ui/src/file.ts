/** Answers the page's questions from what a file holds: one incident, written by `tapio timeline --format html`. */

import type { EventsAnswer, Filters, Finding, Incident, Range, Settings, SourceState, TapioEvent, TimelineAnswer } from './model'
import { nameOf } from './model'
import { numberOf } from './severity'
import { parameters, RefusedError, type Source } from './source'
import { parseTime } from './times'

export class IncidentFile implements Source {
  readonly live = false
  readonly title: string
  readonly range: Range
  readonly opened: string
  private readonly known = new Map<string, TapioEvent>()

  constructor(private readonly incident: Incident) {
    this.title = incident.title
    this.opened = incident.opened ?? ''
    this.range = { start: parseTime(incident.timeline.since), end: parseTime(incident.timeline.until) }
    for (const finding of incident.findings) {
      this.known.set(finding.id, finding)
      for (const event of Object.values(finding.events ?? {})) this.known.set(event.id, event)
    }
    for (const event of Object.values(incident.events ?? {})) this.known.set(event.id, event)
  }

  /** Gives what the document embeds, if it is such a file. */
  static embedded(): IncidentFile | null {
    const element = document.getElementById('tapio-incident')
    return element ? new IncidentFile(JSON.parse(element.textContent ?? '') as Incident) : null
  }

  async settings(): Promise<Settings> {
    return this.incident.settings
  }

  async sources(): Promise<SourceState[]> {
    return []
  }

  async findings(): Promise<Finding[]> {
    return this.incident.findings
  }

  async finding(id: string): Promise<Finding> {
    const found = this.incident.findings.find((one) => one.id === id)
    if (!found) throw new RefusedError(404, 'This file does not have that finding.')
    return found
  }

  async event(id: string): Promise<TapioEvent> {
    const found = this.known.get(id)
    if (!found) throw new RefusedError(404, 'This file has no more of that event than its mark.')
    return found
  }

  async timeline(range: Range, filters: Filters): Promise<TimelineAnswer> {
    const { timeline } = this.incident
    const wanted = this.wanted(filters)
    const marks = timeline.marks.filter((one) => one[1] >= range.start && one[1] <= range.end && wanted(one[5], one[2]))
    return { ...timeline, marks, total: marks.length }
  }

  async events(range: Range, filters: Filters): Promise<EventsAnswer> {
    const answer = await this.timeline(range, filters)
    const events = answer.marks.map((mark) => this.known.get(mark[5])).filter((one): one is TapioEvent => !!one)
    return { events: events.reverse(), next: null }
  }

  async entities(text: string): Promise<string[]> {
    return this.incident.timeline.lanes.map((lane) => lane.path.at(-1) ?? lane.name).filter((name) => name.includes(text))
  }

  listen(): () => void {
    return () => undefined
  }

  private wanted(filters: Filters): (id: string, severity: number) => boolean {
    const query = parameters(filters)
    const least = query.severity ? numberOf(query.severity) : 0
    const words = (query.text ?? '').toLowerCase().split(' ').filter(Boolean)
    return (id, severity) => {
      const event = this.known.get(id)
      if (severity < least || (query.type && event?.type !== query.type)) return false
      if (query.source && event?.source !== query.source) return false
      if (query.trace_id && event?.trace_id !== query.trace_id) return false
      if (query.entity && !(event && nameOf(event.entity).includes(query.entity))) return false
      return words.length === 0 || (!!event && words.every((word) => haystack(event).includes(word)))
    }
  }
}

function haystack(event: TapioEvent): string {
  return `${event.title ?? ''} ${event.description ?? ''} ${event.type} ${nameOf(event.entity)}`.toLowerCase()
}
