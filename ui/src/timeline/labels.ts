/** The names of rows, beside the picture: only those in view exist as elements. */

import { fill, h } from '../dom'
import { oneLine } from '../inert'
import { severityIcon } from '../shapes'
import { wordOf } from '../severity'
import { ROW } from './layout'
import type { Row } from './rows'

const SHORT: Record<string, string> = { systemd_unit: 'unit', network_interface: 'interface' }

export class Labels {
  readonly element = h('div', { class: 'lanes', role: 'group', 'aria-label': 'Entities', tabindex: 0 })
  private readonly space = h('div', { class: 'lanes-space' })
  private rows: readonly Row[] = []

  constructor(
    private readonly onFold: (key: string) => void,
    private readonly onChoose: (name: string) => void,
    onScroll: () => void,
  ) {
    this.element.append(this.space)
    this.element.addEventListener('scroll', () => {
      this.render()
      onScroll()
    })
  }

  get scroll(): number {
    return this.element.scrollTop
  }

  set scroll(value: number) {
    this.element.scrollTop = value
  }

  show(rows: readonly Row[]): void {
    this.rows = rows
    this.space.style.height = `${rows.length * ROW}px`
    this.render()
  }

  render(): void {
    const first = Math.max(0, Math.floor(this.scroll / ROW) - 2)
    const last = Math.min(this.rows.length, Math.ceil((this.scroll + this.element.clientHeight) / ROW) + 2)
    const kept = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.row : undefined
    fill(this.space, ...this.rows.slice(first, last).map((row, at) => this.label(row, first + at)))
    if (kept) [...this.space.querySelectorAll<HTMLElement>('[data-row]')].find((one) => one.dataset.row === kept)?.focus()
  }

  private label(row: Row, at: number): HTMLElement {
    const [type = '', ...names] = row.name.split('/')
    const name = oneLine(names.join('/') || type, 160)
    const fold = h('button', {
      class: 'fold', 'data-row': `fold ${row.key}`, 'aria-expanded': !row.folded, 'aria-label': `${row.folded ? 'Unfold' : 'Fold'} ${name}`,
      onclick: () => this.onFold(row.key),
    }, row.folded ? '▸' : '▾')
    const choose = h('button', { class: 'lane-name', 'data-row': row.key, title: `${oneLine(row.name)}: show only this`, onclick: () => this.onChoose(row.name) },
      h('span', { class: 'lane-type' }, names.length ? (SHORT[type] ?? type) : ''), h('bdi', {}, name))
    fold.setAttribute('aria-expanded', String(!row.folded))
    const element = h('div', { class: `lane${row.affected ? ' affected' : ''}` },
      row.parent ? fold : h('span', { class: 'fold' }), choose,
      row.worst >= 13 ? severityIcon(row.worst, `worst: ${wordOf(row.worst)}`) : null,
      h('span', { class: 'lane-count' }, short(row.count)))
    element.style.top = `${at * ROW}px`
    element.style.setProperty('--depth', String(row.depth))
    return element
  }
}

function short(count: number): string {
  if (count < 1000) return count ? String(count) : ''
  return count < 1_000_000 ? `${Number((count / 1000).toPrecision(2))}k` : `${Number((count / 1e6).toPrecision(2))}M`
}
