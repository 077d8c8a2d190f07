/** Where the page reads: a running agent's API. The same questions are answered from a file by file.ts. */

import type { EventsAnswer, Filters, Finding, Range, Settings, SourceState, TapioEvent, TimelineAnswer } from './model'
import { rfc3339 } from './times'

export interface Listener {
  event(event: TapioEvent): void
  finding(finding: Finding): void
  state(connected: boolean): void
  /** So many events passed too quickly. */
  lost(count: number): void
}

export interface Source {
  /** Whether there is more to come; a file has all it will ever have. */
  readonly live: boolean
  readonly title: string
  /** The range that it has; null where any may be asked for. */
  readonly range: Range | null
  /** The finding to begin with, where it is not simply the newest. */
  readonly opened: string
  settings(): Promise<Settings>
  sources(): Promise<SourceState[]>
  findings(): Promise<Finding[]>
  finding(id: string): Promise<Finding>
  event(id: string): Promise<TapioEvent>
  timeline(range: Range, filters: Filters, limit: number): Promise<TimelineAnswer>
  events(range: Range, filters: Filters, cursor: string): Promise<EventsAnswer>
  entities(text: string): Promise<string[]>
  /** Begins to listen, and gives what ends it. */
  listen(filters: Filters, listener: Listener): () => void
}

/** What the agent refused, in its words; `status` is HTTP's. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

const FIELDS: Record<string, string> = {
  entity: 'entity', type: 'type', source: 'source', trace: 'trace_id', trace_id: 'trace_id',
}

/** Takes `entity:web-0 type:oom_kill killed` apart into parameters; words without a field are searched in texts. */
export function parameters(filters: Filters): Record<string, string> {
  const found: Record<string, string> = {}
  const words: string[] = []
  for (const word of filters.text.trim().split(/\s+/).filter(Boolean)) {
    const [, field = '', value = ''] = /^(\w+):(.+)$/.exec(word) ?? []
    if (FIELDS[field]) found[FIELDS[field]] = value
    else words.push(word)
  }
  if (words.length) found.text = words.join(' ')
  if (filters.severity) found.severity = filters.severity
  return found
}

function between(range: Range): Record<string, string> {
  return { since: rfc3339(range.start), until: rfc3339(Math.ceil(range.end) + 1) }
}

export class Agent implements Source {
  readonly live = true
  readonly title = ''
  readonly range = null
  readonly opened = ''

  private async get<T>(path: string, query: Record<string, string> = {}): Promise<T> {
    const address = new URL(`api/v1/${path}`, document.baseURI)
    address.hash = ''
    address.search = new URLSearchParams(query).toString()
    const answer = await fetch(address, { headers: { accept: 'application/json' }, credentials: 'same-origin' })
    if (!answer.ok) throw await refusal(answer)
    return (await answer.json()) as T
  }

  settings(): Promise<Settings> {
    return this.get('settings')
  }

  async sources(): Promise<SourceState[]> {
    return (await this.get<{ sources: SourceState[] }>('sources')).sources
  }

  async findings(): Promise<Finding[]> {
    return (await this.get<{ findings: Finding[] }>('findings', { limit: '200' })).findings
  }

  finding(id: string): Promise<Finding> {
    return this.get(`findings/${encodeURIComponent(id)}`)
  }

  event(id: string): Promise<TapioEvent> {
    return this.get(`events/${encodeURIComponent(id)}`)
  }

  timeline(range: Range, filters: Filters, limit: number): Promise<TimelineAnswer> {
    return this.get('timeline', { ...between(range), ...parameters(filters), limit: String(limit) })
  }

  events(range: Range, filters: Filters, cursor: string): Promise<EventsAnswer> {
    const place: Record<string, string> = cursor ? { cursor } : {}
    return this.get('events', { ...between(range), ...parameters(filters), ...place, limit: '200', order: 'desc' })
  }

  async entities(text: string): Promise<string[]> {
    const answer = await this.get<{ entities: { path?: string[]; type: string; namespace?: string; name: string }[] }>(
      'entities',
      { text, limit: '20' },
    )
    return answer.entities.map((one) => one.path?.at(-1) ?? [one.type, one.namespace, one.name].filter(Boolean).join('/'))
  }

  async open(token: string): Promise<void> {
    const answer = await fetch(new URL('api/v1/session', document.baseURI), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      credentials: 'same-origin',
      body: JSON.stringify({ token }),
    })
    if (!answer.ok) throw await refusal(answer)
  }

  listen(filters: Filters, listener: Listener): () => void {
    const address = new URL('api/v1/stream', document.baseURI)
    address.search = new URLSearchParams(parameters(filters)).toString()
    const stream = new EventSource(address)
    const take = <T>(use: (one: T) => void) => (message: Event) => use(JSON.parse((message as MessageEvent<string>).data) as T)
    stream.addEventListener('event', take<TapioEvent>((one) => listener.event(one)))
    stream.addEventListener('finding', take<Finding>((one) => listener.finding(one)))
    stream.addEventListener('lost', take<{ count: number }>((one) => listener.lost(one.count)))
    stream.addEventListener('open', () => listener.state(true))
    stream.addEventListener('error', () => listener.state(false))
    return () => stream.close()
  }
}

async function refusal(answer: Response): Promise<RefusedError> {
  let message = `${answer.status} ${answer.statusText}`
  try {
    const body = (await answer.json()) as { error?: { message?: string } }
    message = body.error?.message ?? message
  } catch {
    // no JSON: the status says it
  }
  return new RefusedError(answer.status, message)
}
