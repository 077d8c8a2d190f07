/** The page as a whole: what its parts ask for changes what is looked at, and that decides what is read anew. */

import { Choosing } from './choosing'
import { oneLine } from './inert'
import { Live } from './live'
import { Page, type Wishes } from './page'
import { Reading } from './reading'
import { listenToKeys } from './shortcuts'
import type { Source } from './source'
import { fixed, read, write, type State } from './state'
import { showKeys } from './toolbar'

export class App {
  private readonly page: Page
  private readonly reading: Reading
  private readonly choosing: Choosing
  private readonly live: Live

  constructor(place: HTMLElement, private readonly source: Source) {
    this.page = new Page(place, source, this.wishes())
    this.reading = new Reading(this.page, { go: (from, to) => this.change({ from, to, zoom: null, live: false }), live: () => this.goLive(true) })
    this.choosing = new Choosing(this.page, () => this.reading.zoomToStory())
    this.live = new Live(this.page, (id) => this.choosing.finding(id, false), () => this.reading.hush())
    window.addEventListener('hashchange', () => void this.follow())
    listenToKeys({ actions: this.shortcuts, close: () => this.choosing.close() })
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.restyle())
  }

  /** Reads everything for the first time. */
  async start(): Promise<void> {
    const { page, source } = this
    const settings = await source.settings()
    page.panel.settings = settings
    page.toolbar.named(source.title || (settings.node ?? ''))
    document.title = `tapio · ${oneLine(source.title || settings.node || 'what happened here', 80)}`
    page.findings.add(await source.findings())
    if (!source.live && !page.state.finding) page.state.finding = source.opened || this.newest
    await this.choosing.finding(page.state.finding || this.newest, false)
    await this.reading.load()
    if (!source.live && !page.state.zoom) this.reading.zoomToStory()
    if (page.state.event) await this.choosing.event(page.state.event)
    page.place.dataset.ready = 'true'
    this.live.start()
  }

  private get newest(): string {
    return this.page.findings.all[0]?.id ?? ''
  }

  private wishes(): Wishes {
    const event = (id: string) => void this.choosing.event(id)
    const finding = (id: string) => void this.choosing.finding(id, true)
    const search = (query: string) => this.search(query)
    const entity = (name: string) => this.search(`entity:${name}`)
    const all = () => this.reading.look(this.page.range)
    return {
      event,
      finding,
      toolbar: this.toolbarWishes(),
      incident: { event, entity, only: (only) => this.change({ only }), zoom: () => this.reading.zoomToStory() },
      timeline: { event, entity, all, view: (view) => this.reading.look(view), announce: (text) => this.page.say(text) },
      bar: {
        all,
        view: (view) => this.change({ view }),
        pan: (share) => this.page.timeline.pan(share),
        zoom: (factor) => this.page.timeline.zoom(factor),
      },
      panel: { search, finding, close: () => void this.choosing.close() },
    }
  }

  private toolbarWishes(): Wishes['toolbar'] {
    return {
      search: (query) => this.search(query),
      severity: (severity) => this.change({ severity }),
      range: (from, to) => this.change({ from, to, zoom: null, live: this.page.state.live && to === 'now' }),
      live: (on) => this.goLive(on),
      look: () => this.restyle(),
      link: () => this.copyLink(),
      suggest: (text) => this.source.entities(text),
    }
  }

  private search(query: string): void {
    if (query !== this.page.state.query) this.change({ query })
  }

  private goLive(live: boolean): void {
    const { from, to } = this.page.state
    this.change(live ? { live, to: 'now', from: to === 'now' ? from : '-15m', zoom: null } : { live })
  }

  /** Changes what is looked at, and reads again what that changes. */
  private change(part: Partial<State>): void {
    const { page } = this
    const before = page.state
    page.state = { ...before, ...part }
    const changed = (...names: (keyof State)[]) => names.some((name) => before[name] !== page.state[name])
    page.note()
    if (changed('query', 'severity', 'from', 'to')) void this.reading.load()
    else if (changed('view', 'only')) page.render()
    else if (changed('live') && page.silent) void this.reading.load()
    if (changed('live', 'query', 'severity')) this.live.relisten()
    page.toolbar.show(page.state)
  }

  /** Goes where the address says, when someone changed it. */
  private async follow(): Promise<void> {
    const { page } = this
    const { finding, event } = (page.state = read(location.hash))
    await this.choosing.finding(finding || this.newest, false)
    await this.reading.load()
    this.live.relisten()
    if (event) await this.choosing.event(event)
    else this.choosing.close()
  }

  private restyle(): void {
    this.page.timeline.restyle()
    this.page.findings.render()
    this.page.render()
  }

  private async copyLink(): Promise<void> {
    const address = `${location.href.split('#')[0]}#${write(fixed(this.page.state))}`
    history.replaceState(null, '', address)
    await navigator.clipboard?.writeText(address).catch(() => undefined)
  }

  private readonly shortcuts = {
    '/': () => this.page.toolbar.focusSearch(),
    '?': () => showKeys(),
    l: () => this.source.live && this.goLive(!this.page.state.live),
    t: () => this.change({ view: this.page.state.view === 'list' ? 'timeline' : 'list' }),
    j: () => this.choosing.next(1),
    k: () => this.choosing.next(-1),
  }
}
