/** What a finding tells: its root cause, what followed, who attested it, whom it concerns. */

import { nameOf, pathOf, text, texts, type Finding, type TapioEvent } from './model'
import { parseTime } from './times'

export interface Story {
  finding: Finding
  rule: string
  confidence: number
  hint: string
  open: boolean
  root: TapioEvent | null
  /** In the order of time. */
  impacts: TapioEvent[]
  /** Root, impacts and all witnesses, in the order of time. */
  members: TapioEvent[]
  entities: string[]
  /** Events by source; where the finding came without its events, its sources with none counted. */
  witnesses: Map<string, number>
  start: number
  end: number
}

export function storyOf(finding: Finding): Story {
  const attributes = finding.attributes ?? {}
  const known = finding.events ?? {}
  const pick = (id: string) => known[id]
  const members = inTime([text(attributes.root_cause), ...texts(attributes.impacts), ...texts(attributes.members)], pick)
  const confidence = Number(attributes.confidence)
  return {
    finding,
    rule: text(attributes.rule),
    confidence: Number.isFinite(confidence) ? confidence : 0,
    hint: text(attributes.hint),
    open: attributes.state === 'open' && Date.now() < timeOf(attributes.last_seen, finding) + Math.max(60, Number(attributes.window) || 0) * 1000,
    root: pick(text(attributes.root_cause)) ?? null,
    impacts: inTime(texts(attributes.impacts), pick),
    members,
    entities: texts(attributes.entities).length ? texts(attributes.entities) : [nameOf(finding.entity)],
    witnesses: witnessesOf(members, texts(attributes.sources)),
    start: timeOf(attributes.first_seen, finding),
    end: timeOf(attributes.last_seen, finding),
  }
}

function timeOf(value: unknown, finding: Finding): number {
  const time = parseTime(text(value))
  return Number.isFinite(time) ? time : parseTime(finding.timestamp)
}

function inTime(ids: string[], pick: (id: string) => TapioEvent | undefined): TapioEvent[] {
  const events = [...new Set(ids)].map(pick).filter((one): one is TapioEvent => !!one)
  return events.sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0))
}

function witnessesOf(members: TapioEvent[], sources: string[]): Map<string, number> {
  const counts = new Map<string, number>(sources.map((source) => [source, 0]))
  for (const event of members) counts.set(event.source, (counts.get(event.source) ?? 0) + 1)
  return counts
}

/** Gives the names of all rows a story concerns. */
export function affectedBy(story: Story): Set<string> {
  return new Set([...story.entities, ...story.members.map((event) => pathOf(event.entity).at(-1)!)])
}

export function isTold(finding: Finding): boolean {
  return !text(finding.attributes?.superseded_by)
}

/** Gives the number of a finding's revision. */
export function revisionOf(finding: Finding): number {
  const revision = Number(finding.attributes?.revision)
  return Number.isFinite(revision) ? revision : 0
}
