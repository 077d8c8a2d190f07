/** What is looked at: kept in the address's fragment, so that a view can be shared and never reaches a server's log. */

import type { Range } from './model'
import { parseMoment, rfc3339 } from './times'

export interface State {
  /** The range as it was asked for: relative to now, or times. */
  from: string
  to: string
  /** The part of the range that is shown; all of it when null. */
  zoom: Range | null
  query: string
  severity: string
  finding: string
  event: string
  view: 'timeline' | 'list'
  live: boolean
  /** Whether only the entities of the finding are shown. */
  only: boolean
}

export const START: State = {
  from: '-1h', to: 'now', zoom: null, query: '', severity: '', finding: '', event: '', view: 'timeline', live: false, only: false,
}

export function read(fragment: string): State {
  const fields = new URLSearchParams(fragment.replace(/^#/, ''))
  const get = (name: string) => fields.get(name) ?? ''
  const now = Date.now()
  const from = Number.isFinite(parseMoment(get('from'), now)) ? get('from') : START.from
  const to = Number.isFinite(parseMoment(get('to'), now)) ? get('to') : START.to
  const [start = NaN, end = NaN] = get('zoom').split('~').map((one) => parseMoment(one, now))
  return {
    from,
    to,
    zoom: end > start ? { start, end } : null,
    query: get('q'),
    severity: get('severity'),
    finding: get('finding'),
    event: get('event'),
    view: get('view') === 'list' ? 'list' : 'timeline',
    live: get('live') === '1',
    only: get('only') === '1',
  }
}

export function write(state: State): string {
  const fields = new URLSearchParams()
  const put = (name: string, value: string, plain = '') => value !== plain && fields.set(name, value)
  put('from', state.from, START.from)
  put('to', state.to, START.to)
  if (state.zoom) put('zoom', `${rfc3339(state.zoom.start)}~${rfc3339(state.zoom.end)}`)
  put('q', state.query)
  put('severity', state.severity)
  put('finding', state.finding)
  put('event', state.event)
  put('view', state.view, START.view)
  put('live', state.live ? '1' : '')
  put('only', state.only ? '1' : '')
  return fields.toString().replaceAll('%3A', ':').replaceAll('%2F', '/').replaceAll('%7E', '~')
}

/** Gives the range in milliseconds; at least a second long. */
export function rangeOf(state: State, now = Date.now()): Range {
  const start = parseMoment(state.from, now)
  const end = parseMoment(state.to, now)
  return end - start >= 1000 ? { start, end } : { start: end - 1000, end }
}

/** Gives the same state with times instead of what is relative to now: a link to it shows the same tomorrow. */
export function fixed(state: State): State {
  const range = rangeOf(state)
  return { ...state, from: rfc3339(range.start), to: rfc3339(range.end), live: false }
}

/** Gives the part nearest to what was asked for that lies in the range. */
export function clamp(view: Range, range: Range): Range {
  const length = Math.min(view.end - view.start, range.end - range.start)
  const start = Math.min(Math.max(view.start, range.start), range.end - length)
  return { start, end: start + length }
}

/** Gives the state for a view that goes beyond the range: a longer range, up to now, with the view as its zoom. */
export function widened(state: State, range: Range, view: Range, now = Date.now()): State {
  const length = view.end - view.start
  const end = Math.min(view.end, Math.max(range.end, now + length * 0.05))
  const zoom = { start: end - length, end }
  const from = rfc3339(Math.min(range.start, zoom.start - length / 2))
  return { ...state, from, to: rfc3339(Math.max(range.end, end)), zoom, live: false }
}
