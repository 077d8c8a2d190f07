/** What should be listened to and is not, below the findings: so that a source that is deaf does not look like one that is quiet. */

import { fill, h } from './dom'
import type { SourceState } from './model'
import { sourceName } from './severity'
import { item } from './silence'

const TROUBLED = new Set(['failing', 'failed', 'degraded'])

export class Unheard {
  readonly element = h('details', { class: 'unheard', hidden: true })
  private told = ''

  /** Shows which of the sources are in trouble, and why; nothing of those that nobody asked to listen to. */
  show(sources: readonly SourceState[]): void {
    const troubled = sources.filter((one) => TROUBLED.has(one.state ?? ''))
    const told = JSON.stringify(troubled.map((one) => [one.id, one.state, one.reason]))
    if (told === this.told) return
    this.told = told
    this.element.hidden = !troubled.length
    const named = (listening: boolean) => troubled.filter((one) => Boolean(one.listening) === listening).map((one) => sourceName(one.type ?? one.id)).join(', ')
    const words = [named(false) && `Not listened to: ${named(false)}`, named(true) && `Only in part: ${named(true)}`]
    fill(this.element,
      h('summary', {}, words.filter(Boolean).join('. ')),
      h('ul', { class: 'sources' }, ...troubled.map((one) => item(one, Boolean(one.listening)))))
  }
}
