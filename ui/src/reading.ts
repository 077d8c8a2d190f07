/** Reads what the page shows: the range as a whole, and more of a part that was zoomed into where the whole came as counts. */

import { Knowledge, MOST } from './knowledge'
import type { Range } from './model'
import type { Page } from './page'
import type { Ways } from './silence'
import { clamp, rangeOf, widened } from './state'
import { rfc3339 } from './times'

/** How long after a movement the address is written and the part in view is asked for. */
const REST = 250

export class Reading {
  private turn = 0
  private resting = 0

  constructor(private readonly page: Page, private readonly ways: Ways) {}

  /** Reads the range anew; of answers that overtake each other the last question's counts. */
  async load(): Promise<void> {
    const { page } = this
    const turn = ++this.turn
    if (page.source.live) page.range = rangeOf(page.state)
    page.place.dataset.busy = 'true'
    try {
      const answer = await page.source.timeline(page.range, page.filters, MOST)
      if (turn !== this.turn) return
      page.known = new Knowledge(answer)
      page.fail(null)
      await this.hush()
    } catch (error) {
      page.fail(error)
    }
    if (turn === this.turn) delete page.place.dataset.busy
    page.render()
    this.rest()
  }

  /** Says what is listened to where nothing was found and nothing was asked for. */
  async hush(): Promise<void> {
    const { page } = this
    page.silent = !page.known?.total && !page.state.query && !page.state.severity && page.source.live
    const sources = await page.source.sources()
    page.unheard.show(page.silent ? [] : sources)
    if (!page.silent) return page.silence.hide()
    const last = await page.source.events({ start: 0, end: Date.now() + 86_400_000 }, { text: '', severity: '' }, '')
    page.silence.show(sources, last.events[0], page.state.live, this.ways)
    return undefined
  }

  /** Shows a part of the range, or a longer range where the part goes beyond it. */
  look(view: Range): void {
    const { page } = this
    if (!page.known) return
    const { range } = page
    const whole = view.start === range.start && view.end === range.end
    const beyond = view.start < range.start || view.end > range.end
    if (beyond && page.source.live) {
      page.state = widened(page.state, range, view)
      page.range = rangeOf(page.state)
      page.toolbar.show(page.state)
    } else page.state = { ...page.state, zoom: whole ? null : clamp(view, range) }
    page.timeline.move(page.range, page.view)
    page.showSpan()
    this.rest()
  }

  /** After the movement: the address is written, and what is in view is asked for where only counts are known. */
  private rest(): void {
    clearTimeout(this.resting)
    this.resting = window.setTimeout(() => {
      const { page } = this
      page.note()
      if (page.source.live && page.known && !page.known.covers(page.range)) void this.load()
      else void this.lookCloser()
      if (page.state.view === 'list') void page.list.refresh()
    }, REST)
  }

  private async lookCloser(): Promise<void> {
    const { page } = this
    const { known } = page
    const { zoom } = page.state
    if (!zoom || !known?.isVague(zoom)) return
    const margin = (zoom.end - zoom.start) * 0.5
    const range = { start: zoom.start - margin, end: zoom.end + margin }
    try {
      const detail = await page.source.timeline(range, page.filters, MOST)
      if (known !== page.known) return
      known.lookCloser(range, detail)
      page.draw()
    } catch (error) {
      page.fail(error)
    }
  }

  /** Shows the time of the finding, with something before and after. */
  zoomToStory(): void {
    const { page } = this
    if (!page.story) return
    const { start, end } = page.story
    const margin = Math.max(5000, (end - start) * 0.25)
    const around = { start: start - margin, end: end + margin }
    const view = page.source.live ? around : clamp(around, page.range)
    if (view.start < page.range.start || view.end > page.range.end) {
      const wide = Math.max(1_800_000, (end - start) * 2)
      const to = Math.min(Date.now(), end + wide)
      page.state = { ...page.state, zoom: view, from: rfc3339(start - wide), to: rfc3339(Math.max(to, view.end)), live: false }
      page.note()
      void this.load()
    } else {
      page.state = { ...page.state, zoom: view }
      page.note()
      page.render()
      this.rest()
    }
  }
}
