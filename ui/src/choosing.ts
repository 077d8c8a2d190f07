/** What the reader chose: a finding, and an event of which everything is shown at the side. */

import { oneLine } from './inert'
import { texts, type TapioEvent } from './model'
import type { Page } from './page'
import { RefusedError } from './source'
import { storyOf } from './story'

export class Choosing {
  constructor(private readonly page: Page, private readonly zoomToStory: () => void) {}

  /** Opens a finding; empty chooses none. `byReader`: the time goes there, and screen readers are told. */
  async finding(id: string, byReader: boolean): Promise<void> {
    const { page } = this
    page.findings.select(id)
    if (!id) {
      page.story = null
      return
    }
    try {
      const known = page.findings.get(id)
      const finding = known?.events ? known : await page.source.finding(id)
      page.findings.add([finding])
      page.story = storyOf(finding)
    } catch (error) {
      page.story = null
      page.fail(error)
    }
    if (!byReader) return
    page.state = { ...page.state, finding: id }
    this.zoomToStory()
    page.say(`Finding: ${oneLine(page.story?.finding.title ?? '', 200)}`)
  }

  /** Opens the finding above (-1) or below (1) the one that is open. */
  next(direction: 1 | -1): void {
    const { page } = this
    const all = page.findings.all
    const at = all.findIndex((one) => one.id === (page.story?.finding.id ?? ''))
    const next = all[Math.max(0, Math.min(all.length - 1, at + direction))]
    if (next) void this.finding(next.id, true)
  }

  async event(id: string): Promise<void> {
    const { page } = this
    page.state = { ...page.state, event: id }
    page.note()
    page.timeline.select(id)
    page.body.classList.add('with-panel')
    page.panel.wait()
    try {
      const known = page.story?.members.find((one) => one.id === id) ?? (page.findings.get(id) as TapioEvent | undefined)
      const event = known ?? (await page.source.event(id))
      if (page.state.event === id) page.panel.show(event, page.findings.all.filter((one) => texts(one.attributes?.members).includes(id)))
    } catch (error) {
      page.panel.fail(error instanceof RefusedError && error.status === 404 ? `${error.message} It may have been removed by the store's limits.` : String(error))
    }
    if (!page.panel.element.contains(document.activeElement)) page.panel.element.focus({ preventScroll: innerWidth > 1000 })
  }

  /** Closes the event, and tells whether one was open. */
  close(): boolean {
    const { page } = this
    if (page.panel.element.hidden) return false
    page.state = { ...page.state, event: '' }
    page.note()
    page.panel.hide()
    page.body.classList.remove('with-panel')
    page.timeline.select('')
    const target = page.state.view === 'list' ? page.list.element : page.timeline.element.querySelector<HTMLElement>('.surface')
    target?.focus({ preventScroll: true })
    return true
  }
}
