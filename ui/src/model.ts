/** What the agent answers, as docs/ui-api.md describes it. */

export interface Entity {
  type: string
  name: string
  namespace?: string
  uid?: string
  parent?: Entity | null
  attributes?: Record<string, string>
}

export interface TapioEvent {
  id: string
  timestamp: string
  observed?: string
  source: string
  type: string
  severity: string
  entity: Entity
  title?: string
  description?: string
  attributes?: Record<string, unknown>
  trace_id?: string
  span_id?: string
  parent_id?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

/** An event of type correlation; `events` has its root cause, impacts and witnesses by id. */
export interface Finding extends TapioEvent {
  events?: Record<string, TapioEvent>
}

export interface Lane {
  path: string[]
  type: string
  name: string
  namespace?: string
}

/** Lane, time in ms, severity number, source, type, id, title. */
export type Mark = [number, number, number, string, string, string, string]
/** Lane, start and end in ms, severity number, count. */
export type Density = [number, number, number, number, number]
/** From event, to event, finding. */
export type Link = [string, string, string]

export interface TimelineAnswer {
  since: string
  until: string
  total: number
  lanes: Lane[]
  lanes_left_out?: number
  marks: Mark[]
  density: Density[]
  links: Link[]
}

export interface SourceState {
  id: string
  type?: string
  state?: string
  listening?: boolean
  reason?: string | null
  hint?: string | null
  events?: number
  last?: string | null
}

export interface Settings {
  trace_url?: string | null
  node?: string
  version?: string
}

export interface EventsAnswer {
  events: TapioEvent[]
  next: string | null
}

/** What a file holds that `tapio timeline --format html` wrote. */
export interface Incident {
  title: string
  /** The finding to begin with: the newest about what the file is about. */
  opened?: string
  timeline: TimelineAnswer
  findings: Finding[]
  settings: Settings
  events?: Record<string, TapioEvent>
}

export interface Filters {
  text: string
  severity: string
}

export interface Range {
  start: number
  end: number
}

/** Gives the entity and its parents, the outermost first, as the lanes of the timeline name them. */
export function pathOf(entity: Entity): string[] {
  const path: string[] = []
  for (let one: Entity | null | undefined = entity; one; one = one.parent) path.unshift(nameOf(one))
  return path
}

/** Gives `pod/prod/web-0`, or `node/n1` where there is no namespace. */
export function nameOf(entity: Entity): string {
  return entity.namespace ? `${entity.type}/${entity.namespace}/${entity.name}` : `${entity.type}/${entity.name}`
}

/** Reads a list of texts from an attribute, whatever it holds. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}
