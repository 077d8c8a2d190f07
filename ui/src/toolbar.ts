/** The bar on top: search, severity, range, live, and how the page looks. */

import { fill, h, remember, remembered } from './dom'
import { oneLine } from './inert'
import { KEYWORDS } from './severity'
import type { State } from './state'
import { parseMoment, setUtc, isUtc } from './times'

const PRESETS: [from: string, words: string][] = [
  ['-5m', 'Last 5 minutes'], ['-15m', 'Last 15 minutes'], ['-1h', 'Last hour'], ['-6h', 'Last 6 hours'],
  ['-24h', 'Last 24 hours'], ['-7d', 'Last 7 days'],
]
const TYPES = ['oom_kill', 'service_crashed', 'service_restart', 'connection_failed', 'dns_resolution_failed', 'cpu_throttle', 'container_restart', 'log']
const SOURCES = ['ebpf', 'systemd', 'journald', 'kubernetes']

export interface Listener {
  search(text: string): void
  severity(keyword: string): void
  range(from: string, to: string): void
  live(on: boolean): void
  look(): void
  link(): Promise<void>
  suggest(text: string): Promise<string[]>
}

export class Toolbar {
  readonly element = h('header', { class: 'toolbar' })
  private readonly node = h('span', { class: 'node' })
  private readonly suggestions = h('datalist', { id: 'suggestions' })
  private readonly search = h('input', {
    type: 'search', id: 'search', list: 'suggestions', placeholder: 'Search: words, entity:web-0, type:oom_kill',
    'aria-label': 'Search events', autocomplete: 'off', spellcheck: 'false',
  })
  private readonly severity = h('select', { id: 'severity', 'aria-label': 'Severity, that or worse' },
    h('option', { value: '' }, 'All severities'), ...KEYWORDS.slice(1).map((word) => h('option', { value: word }, word === 'emergency' ? word : `${word} or worse`)))
  private readonly range = h('select', { id: 'range', 'aria-label': 'Time range' },
    ...PRESETS.map(([from, words]) => h('option', { value: from }, words)), h('option', { value: 'times' }, 'From … to …'))
  private readonly from = h('input', { id: 'from', 'aria-label': 'From', placeholder: '-2h or 2026-01-31T12:00:00Z', spellcheck: 'false' })
  private readonly to = h('input', { id: 'to', 'aria-label': 'To', placeholder: 'now', spellcheck: 'false' })
  private readonly times = h('form', { class: 'times', hidden: true }, this.from, h('span', {}, '–'), this.to, h('button', {}, 'Show'))
  private readonly live = h('button', { class: 'live', id: 'live', 'aria-pressed': 'false' }, h('span', { class: 'lamp', 'aria-hidden': 'true' }), 'Live')
  private readonly zone = h('button', { id: 'zone', title: 'Times in UTC or in local time' })
  private readonly theme = h('button', { id: 'theme' })
  private readonly share = h('button', { id: 'share', title: 'Copy a link to this view, with its times fixed' }, 'Link')
  private typing = 0

  constructor(private readonly listener: Listener, live: boolean) {
    const keys = h('button', { id: 'keys', 'aria-label': 'Keys and signs', title: 'Keys and signs (?)', onclick: () => showKeys() }, '?')
    this.element.append(
      h('div', { class: 'brand' }, h('h1', {}, 'tapio'), this.node),
      h('div', { class: 'seek', role: 'search' }, this.search, this.suggestions, this.severity),
      live ? h('div', { class: 'when' }, this.range, this.times, this.live) : '',
      h('div', { class: 'looks' }, live ? this.share : '', this.zone, this.theme, keys))
    this.listen()
    this.setTheme(remembered('theme'))
    this.zone.textContent = isUtc() ? 'UTC' : 'Local'
  }

  show(state: State): void {
    if (document.activeElement !== this.search) this.search.value = state.query
    this.severity.value = state.severity
    const preset = state.to === 'now' && PRESETS.some(([from]) => from === state.from)
    this.range.value = preset ? state.from : 'times'
    this.times.hidden = preset
    if (!this.times.contains(document.activeElement)) [this.from.value, this.to.value] = [state.from, state.to]
    this.live.setAttribute('aria-pressed', String(state.live))
  }

  connected(on: boolean): void {
    this.live.classList.toggle('lost', !on)
    this.live.title = on ? 'New events come as they happen' : 'The connection is lost; it is tried again'
  }

  named(node: string): void {
    fill(this.node, h('bdi', {}, oneLine(node, 80)))
  }

  focusSearch(): void {
    this.search.focus()
    this.search.select()
  }

  private listen(): void {
    const { listener } = this
    const submit = () => listener.search(this.search.value.trim())
    this.search.addEventListener('input', () => {
      clearTimeout(this.typing)
      this.typing = window.setTimeout(() => {
        submit()
        void this.suggest()
      }, 300)
    })
    this.search.addEventListener('change', submit)
    this.severity.addEventListener('change', () => listener.severity(this.severity.value))
    this.range.addEventListener('change', () => {
      if (this.range.value === 'times') this.askTimes()
      else listener.range(this.range.value, 'now')
    })
    this.times.addEventListener('submit', (event) => this.chooseTimes(event))
    this.live.addEventListener('click', () => listener.live(this.live.getAttribute('aria-pressed') !== 'true'))
    this.share.addEventListener('click', () => void this.copy())
    this.zone.addEventListener('click', () => {
      setUtc(!isUtc())
      this.zone.textContent = isUtc() ? 'UTC' : 'Local'
      listener.look()
    })
    this.theme.addEventListener('click', () => {
      this.setTheme(({ '': 'dark', dark: 'light', light: '' } as Record<string, string>)[remembered('theme')] ?? '')
      listener.look()
    })
  }

  private async copy(): Promise<void> {
    await this.listener.link()
    this.share.textContent = 'Copied'
    window.setTimeout(() => (this.share.textContent = 'Link'), 1500)
  }

  private askTimes(): void {
    this.times.hidden = false
    this.from.focus()
  }

  private chooseTimes(event: SubmitEvent): void {
    event.preventDefault()
    const now = Date.now()
    const [from, to] = [this.from.value.trim(), this.to.value.trim() || 'now']
    const good = parseMoment(from, now) < parseMoment(to, now)
    this.from.setAttribute('aria-invalid', String(!good))
    if (good) this.listener.range(from, to)
  }

  private async suggest(): Promise<void> {
    const word = this.search.value.split(/\s+/).at(-1) ?? ''
    const head = this.search.value.slice(0, this.search.value.length - word.length)
    const name = word.replace(/^entity:/, '')
    const known = [...TYPES.map((one) => `type:${one}`), ...SOURCES.map((one) => `source:${one}`)].filter((one) => one.includes(word))
    const entities = name.length > 1 ? await this.listener.suggest(name).catch(() => []) : []
    const all = [...entities.slice(0, 12).map((one) => `entity:${one}`), ...(word ? known : [])]
    fill(this.suggestions, ...all.map((one) => h('option', { value: head + one })))
  }

  private setTheme(theme: string): void {
    remember('theme', theme)
    if (theme) document.documentElement.dataset.theme = theme
    else delete document.documentElement.dataset.theme
    const words = { light: 'Light', dark: 'Dark' }[theme] ?? 'Auto'
    this.theme.textContent = words
    this.theme.title = 'Light, dark, or as the system says'
  }
}

const KEYS: [string, string][] = [
  ['/', 'search'], ['l', 'live on and off'], ['t', 'timeline or list'], ['j, k', 'next, previous finding'], ['← →', 'move in time (timeline)'],
  ['+ −', 'zoom; with the mouse: its wheel, or a double click'], ['0', 'all of the range'], ['n, p', 'next, previous event'], ['↑ ↓', 'event in the row above, below'],
  ['Enter', 'open the event'], ['Esc', 'close it'], ['Shift + wheel', 'scroll the rows'],
]

/** Shows what keys do and what signs mean. */
export function showKeys(): void {
  const dialog = h('dialog', { class: 'keys', 'aria-labelledby': 'keys-title' },
    h('h2', { id: 'keys-title' }, 'Keys'),
    h('table', {}, h('tbody', {}, ...KEYS.map(([key, what]) => h('tr', {}, h('th', { scope: 'row' }, h('kbd', {}, key)), h('td', {}, what))))),
    h('button', { class: 'primary', onclick: () => dialog.close() }, 'Close'))
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}
