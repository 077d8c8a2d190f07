/** How severities and sources are told apart: by shape and word as well as by colour. */

export interface Rank {
  readonly key: 'quiet' | 'notice' | 'warning' | 'error' | 'critical'
  readonly least: number
  readonly word: string
  readonly shape: 'dot' | 'ring' | 'triangle' | 'diamond' | 'octagon'
}

/** The classes in which marks are drawn, the least bad first; alert and emergency are critical. */
export const RANKS: readonly Rank[] = [
  { key: 'quiet', least: 0, word: 'info', shape: 'dot' },
  { key: 'notice', least: 10, word: 'notice', shape: 'ring' },
  { key: 'warning', least: 13, word: 'warning', shape: 'triangle' },
  { key: 'error', least: 17, word: 'error', shape: 'diamond' },
  { key: 'critical', least: 18, word: 'critical', shape: 'octagon' },
]

const NUMBERS: Record<string, number> = {
  debug: 5, info: 9, notice: 10, warning: 13, error: 17, critical: 18, alert: 19, emergency: 21,
}
const WORDS = new Map(Object.entries(NUMBERS).map(([word, number]) => [number, word]))

export const KEYWORDS = Object.keys(NUMBERS)

export function numberOf(keyword: string): number {
  return NUMBERS[keyword] ?? 9
}

export function wordOf(number: number): string {
  return WORDS.get(number) ?? RANKS[rankOf(number)]!.word
}

/** Gives the place in RANKS of a severity number. */
export function rankOf(number: number): number {
  return number >= 18 ? 4 : number >= 17 ? 3 : number >= 13 ? 2 : number >= 10 ? 1 : 0
}

const SOURCES: Record<string, [letter: string, name: string]> = {
  ebpf: ['E', 'kernel (eBPF)'],
  systemd: ['S', 'systemd'],
  journald: ['J', 'journal'],
  kubernetes: ['K', 'Kubernetes'],
  correlation: ['F', 'finding'],
}

/** Gives the letter that stands in a mark for its source. */
export function letterOf(source: string): string {
  return SOURCES[source]?.[0] ?? (source.match(/[a-z]/i)?.[0] ?? '?').toUpperCase()
}

export function sourceName(source: string): string {
  return SOURCES[source]?.[1] ?? source
}
