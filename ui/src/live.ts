/** Live mode: events and findings as they come, and a range that moves on with the clock. */

import { oneLine } from './inert'
import type { Finding, TapioEvent } from './model'
import type { Page } from './page'
import { numberOf } from './severity'
import { rangeOf } from './state'

const BEAT = 500
const REFRESH = 30_000

export class Live {
  private fresh: TapioEvent[] = []
  private unlisten: () => void = () => undefined

  constructor(
    private readonly page: Page,
    private readonly follow: (finding: string) => Promise<void>,
    private readonly hush: () => Promise<void>,
  ) {}

  /** Begins to move on; only where there is an agent that goes on. */
  start(): void {
    if (!this.page.source.live) return
    this.relisten()
    window.setInterval(() => this.beat(), BEAT)
    window.setInterval(() => void this.refresh(), REFRESH)
  }

  /** Listens with the filters of now, or no more. */
  relisten(): void {
    const { page } = this
    this.unlisten()
    this.unlisten = () => undefined
    if (!page.source.live || !page.state.live) return
    this.unlisten = page.source.listen(page.filters, {
      event: (event) => void this.fresh.push(event),
      finding: (finding) => this.hear(finding),
      state: (on) => page.toolbar.connected(on),
      lost: (count) => page.say(`${count} events passed too quickly to be shown; load the range again to see them`),
    })
  }

  private hear(finding: Finding): void {
    const { page } = this
    const fresh = page.findings.add([finding])
    if (fresh.length) page.say(`New finding: ${oneLine(finding.title ?? '', 200)}`)
    const followed = page.state.finding || page.findings.all[0]?.id
    if (finding.id !== followed) return
    void page.source.finding(finding.id).then((whole) => {
      page.findings.add([whole])
      return this.follow(finding.id).then(() => page.render())
    }, () => undefined)
  }

  private async refresh(): Promise<void> {
    const { page } = this
    try {
      page.findings.add(await page.source.findings())
      if (page.silent) await this.hush()
      else page.unheard.show(await page.source.sources())
    } catch {
      // the agent may be restarting; live mode says so, and the next turn tries again
    }
  }

  /** Moves on with the clock, and shows what came since. */
  private beat(): void {
    const { page } = this
    if (!page.state.live || document.hidden) return
    const before = page.range
    page.range = rangeOf(page.state)
    const shift = page.range.end - before.end
    const { zoom } = page.state
    if (zoom) page.state = { ...page.state, zoom: { start: zoom.start + shift, end: zoom.end + shift } }
    const fresh = this.fresh.splice(0)
    if (fresh.length) this.take(fresh)
    else page.timeline.move(page.range, page.view)
    page.showSpan()
  }

  private take(events: TapioEvent[]): void {
    const { page } = this
    const added = page.known?.add(events, page.range.end) ?? []
    if (!page.known || !added.length) return
    if (page.silent) {
      page.silent = false
      page.silence.hide()
      page.render()
    }
    page.draw()
    if (page.state.view === 'list') page.list.add(added)
    const bad = added.filter((event) => numberOf(event.severity) >= 17)
    if (bad.length) page.say(bad.length === 1 ? `${bad[0]!.severity}: ${oneLine(bad[0]!.title ?? bad[0]!.type, 120)}` : `${bad.length} new errors`)
  }
}
