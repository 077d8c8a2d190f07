/** The bar above the events: timeline or list, what time is shown, and buttons that move it. */

import { fill, h } from './dom'
import type { Range } from './model'
import { letterOf, RANKS, sourceName } from './severity'
import { severityIcon } from './shapes'
import type { State } from './state'
import { clock, dateAndClock, spell, zone } from './times'

export interface Listener {
  view(view: State['view']): void
  pan(share: number): void
  zoom(factor: number): void
  all(): void
}

export class Bar {
  readonly element: HTMLElement
  private readonly span = h('span', { class: 'span' })
  private readonly views = { timeline: h('button', { id: 'view-timeline' }, 'Timeline'), list: h('button', { id: 'view-list' }, 'List') }

  constructor(listener: Listener) {
    for (const [view, button] of Object.entries(this.views)) button.addEventListener('click', () => listener.view(view as State['view']))
    const move = (label: string, sign: string, act: () => void) => h('button', { 'aria-label': label, onclick: act }, sign)
    this.element = h('div', { class: 'bar' },
      h('div', { class: 'views', role: 'group', 'aria-label': 'View' }, this.views.timeline, this.views.list),
      this.span,
      h('div', { class: 'zooms', role: 'group', 'aria-label': 'Zoom' },
        move('Earlier', '←', () => listener.pan(-0.5)), move('Later', '→', () => listener.pan(0.5)),
        move('Zoom out', '−', () => listener.zoom(2)), move('Zoom in', '+', () => listener.zoom(0.5)),
        h('button', { onclick: () => listener.all() }, 'All')))
  }

  choose(view: State['view']): void {
    for (const [name, button] of Object.entries(this.views)) button.setAttribute('aria-pressed', String(name === view))
  }

  show({ start, end }: Range, total: number): void {
    const precise = end - start < 10_000
    fill(this.span,
      h('span', {}, `${dateAndClock(start, precise)} – ${clock(end, precise)} ${zone(start)}`),
      h('span', { class: 'dim' }, ` ${spell(end - start)} · ${total.toLocaleString('en')} events`))
  }
}

/** Says what shapes and letters mean. */
export function legend(): HTMLElement {
  const sources = ['ebpf', 'systemd', 'journald', 'kubernetes']
  return h('div', { class: 'legend', 'aria-label': 'Signs', role: 'group' },
    ...RANKS.map((rank) => h('span', { class: 'inline' }, severityIcon(rank.least || 9), ` ${rank.word}`)),
    ...sources.map((source) => h('span', { class: 'inline source' }, h('b', { class: 'letter' }, letterOf(source)), sourceName(source))))
}
