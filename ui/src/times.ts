/** Times: read from addresses and answers, shown to people in UTC (as findings write them) or in local time. */

import { remember, remembered } from './dom'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

let utc = remembered('zone') !== 'local'

export function isUtc(): boolean {
  return utc
}

export function setUtc(value: boolean): void {
  utc = value
  remember('zone', value ? 'utc' : 'local')
}

/** Reads RFC 3339 as milliseconds with a fraction: Date knows no microseconds. */
export function parseTime(text: string): number {
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? ''
  const whole = Date.parse(fraction ? text.replace(`.${fraction}`, '') : text)
  return whole + Number(fraction.padEnd(9, '0')) / 1e6
}

/** Reads `now`, `-15m`, or a time in RFC 3339; NaN for anything else. */
export function parseMoment(text: string, now: number): number {
  if (text === 'now') return now
  const relative = /^-(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  if (relative) return now - Number(relative[1]) * UNITS[relative[2]!]!
  return parseTime(text)
}

export function rfc3339(ms: number): string {
  return new Date(Math.floor(ms)).toISOString()
}

function parts(ms: number): [date: string, time: string] {
  const shift = utc ? 0 : new Date(ms).getTimezoneOffset() * 60_000
  const text = new Date(Math.floor(ms) - shift).toISOString()
  return [text.slice(0, 10), text.slice(11, 23)]
}

/** Gives 03:12:07, with milliseconds on request. */
export function clock(ms: number, precise = false): string {
  if (!Number.isFinite(ms)) return '–'
  return parts(ms)[1].slice(0, precise ? 12 : 8)
}

export function dateAndClock(ms: number, precise = false): string {
  if (!Number.isFinite(ms)) return '–'
  return `${parts(ms)[0]} ${clock(ms, precise)}`
}

export function zone(ms = Date.now()): string {
  if (utc) return 'UTC'
  const minutes = -new Date(ms).getTimezoneOffset()
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60]
  return `UTC${minutes < 0 ? '−' : '+'}${hours}${rest ? `:${String(rest).padStart(2, '0')}` : ''}`
}

/** Says how long: 12 ms, 3.2 s, 4 min, 2.5 h, 3 days. */
export function spell(ms: number): string {
  const value = Math.abs(ms)
  if (value < 1) return `${Math.round(value * 1000)} µs`
  if (value < 1000) return `${Number(value.toPrecision(3))} ms`
  if (value < 120_000) return `${Number((value / 1000).toPrecision(3))} s`
  if (value < 3_600_000) return `${Number((value / 60_000).toPrecision(2))} min`
  if (value < 172_800_000) return `${Number((value / 3_600_000).toPrecision(2))} h`
  return `${Math.round(value / 86_400_000)} days`
}

export function ago(ms: number, now = Date.now()): string {
  if (Math.abs(now - ms) < 5000) return 'just now'
  return now > ms ? `${spell(Math.round((now - ms) / 1000) * 1000)} ago` : `in ${spell(ms - now)}`
}

/** Gives the label of a tick, as fine as the distance between ticks asks for. */
export function tick(ms: number, distance: number): string {
  const [date, time] = parts(ms)
  if (time.startsWith('00:00:00.000') && distance >= 60_000) return date.slice(5)
  if (distance >= 60_000) return time.slice(0, 5)
  return distance >= 1000 ? time.slice(0, 8) : time.slice(3, 12)
}
