/** The page: keeps what is looked at, reads what that needs, and hands it to the parts that show it. */

import { Bar, legend } from './bar'
import { fill, h } from './dom'
import { FindingList } from './findings'
import { IncidentFile } from './file'
import { IncidentView } from './incident'
import { oneLine } from './inert'
import { Knowledge, MOST } from './knowledge'
import { EventList } from './list'
import { texts, type Filters, type Finding, type Range, type TapioEvent } from './model'
import { Panel } from './panel'
import { listenToKeys } from './shortcuts'
import { Silence } from './silence'
import { numberOf } from './severity'
import { RefusedError, type Source } from './source'
import { clamp, fixed, rangeOf, read, widened, write, type State } from './state'
import { storyOf, type Story } from './story'
import { rfc3339 } from './times'
import { TimelineView } from './timeline/timeline'
import { showKeys, Toolbar } from './toolbar'
import { Unheard } from './unheard'

/** How long after a movement the part in view is asked for, where the whole came as counts only. */
const REST = 250
const BEAT = 500

export class App {
  private state: State
  private range: Range
  private known: Knowledge | null = null
  private story: Story | null = null
  private fresh: TapioEvent[] = []
  private silent = true
  private turn = 0
  private resting = 0
  private unlisten: () => void = () => undefined

  private readonly toolbar: Toolbar
  private readonly findings = new FindingList((id) => void this.chooseFinding(id, true))
  private readonly incident: IncidentView
  private readonly timeline: TimelineView
  private readonly list: EventList
  private readonly panel: Panel
  private readonly silence = new Silence()
  private readonly unheard = new Unheard()
  private readonly voice = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' })
  private readonly problem = h('div', { class: 'problem banner', role: 'alert', hidden: true })
  private readonly bar: Bar
  private readonly body = h('div', { class: 'body' })

  constructor(
    private readonly place: HTMLElement,
    private readonly source: Source,
  ) {
    this.state = read(location.hash)
    this.range = source instanceof IncidentFile ? source.range : rangeOf(this.state)
    this.toolbar = new Toolbar(this.toolbarMoves(), source.live)
    this.incident = new IncidentView({
      event: (id) => void this.openEvent(id), entity: (name) => this.search(`entity:${name}`),
      only: (on) => this.change({ only: on }), zoom: () => this.zoomToStory(),
    })
    this.timeline = new TimelineView({
      view: (view) => this.look(view), all: () => this.look(this.range), event: (id) => void this.openEvent(id),
      entity: (name) => this.search(`entity:${name}`), announce: (text) => this.say(text),
    })
    this.bar = new Bar({
      view: (view) => this.change({ view }), pan: (share) => this.timeline.pan(share), zoom: (factor) => this.timeline.zoom(factor),
      all: () => this.look(this.range),
    })
    this.list = new EventList((cursor) => source.events(this.view, this.filters, cursor), (id) => void this.openEvent(id), (error) => this.fail(error))
    this.panel = new Panel({ close: () => void this.closeEvent(), search: (text) => this.search(text), finding: (id) => void this.chooseFinding(id, true) })
    this.build()
  }

  private get view(): Range {
    return this.state.zoom ?? this.range
  }

  private get filters(): Filters {
    return { text: this.state.query, severity: this.state.severity }
  }

  private build(): void {
    this.timeline.element.append(legend())
    this.findings.element.append(this.unheard.element)
    const events = h('section', { class: 'events', 'aria-label': 'Events' }, this.bar.element, this.silence.element, this.timeline.element, this.list.element)
    this.body.append(this.findings.element, h('main', {}, this.incident.element, events), this.panel.element)
    fill(this.place, this.toolbar.element, this.problem, this.body, this.voice)
    window.addEventListener('hashchange', () => void this.follow())
    listenToKeys({ actions: this.shortcuts, close: () => this.closeEvent() })
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.restyle())
  }

  /** Reads everything for the first time. */
  async start(): Promise<void> {
    const settings = await this.source.settings()
    this.panel.settings = settings
    this.toolbar.named(this.source.title || (settings.node ?? ''))
    document.title = `tapio · ${oneLine(this.source.title || settings.node || 'what happened here', 80)}`
    this.findings.add(await this.source.findings())
    if (!this.source.live && !this.state.finding) this.state.finding = this.findings.all[0]?.id ?? ''
    await this.chooseFinding(this.state.finding || this.findings.all[0]?.id || '', false)
    await this.load()
    this.relisten()
    if (!this.source.live && !this.state.zoom) this.zoomToStory()
    if (this.state.event) await this.openEvent(this.state.event)
    this.place.dataset.ready = 'true'
    if (this.source.live) window.setInterval(() => this.beat(), BEAT)
    if (this.source.live) window.setInterval(() => void this.refreshFindings(), 30_000)
  }

  private toolbarMoves() {
    return {
      search: (text: string) => this.search(text),
      severity: (severity: string) => this.change({ severity }),
      range: (from: string, to: string) => this.change({ from, to, zoom: null, live: this.state.live && to === 'now' }),
      live: (live: boolean) => this.change(live ? { live, to: 'now', from: this.state.to === 'now' ? this.state.from : '-15m', zoom: null } : { live }),
      look: () => this.restyle(),
      link: () => this.copyLink(),
      suggest: (text: string) => this.source.entities(text),
    }
  }

  private search(query: string): void {
    if (query !== this.state.query) this.change({ query })
  }

  /** Changes what is looked at, and reads again what that changes. */
  private change(part: Partial<State>): void {
    const before = this.state
    this.state = { ...before, ...part }
    const changed = (...names: (keyof State)[]) => names.some((name) => before[name] !== this.state[name])
    this.note()
    if (changed('query', 'severity', 'from', 'to')) void this.load()
    else if (changed('view', 'only')) this.render()
    if (changed('live', 'query', 'severity')) this.relisten()
    this.toolbar.show(this.state)
  }

  private note(): void {
    const fragment = write(this.state)
    history.replaceState(null, '', fragment ? `#${fragment}` : location.pathname + location.search)
  }

  private async follow(): Promise<void> {
    const { finding, event } = (this.state = read(location.hash))
    await this.chooseFinding(finding || this.findings.all[0]?.id || '', false)
    await this.load()
    this.relisten()
    if (event) await this.openEvent(event)
    else this.closeEvent()
  }

  private async load(): Promise<void> {
    const turn = ++this.turn
    if (this.source.live) this.range = rangeOf(this.state)
    this.place.dataset.busy = 'true'
    try {
      const answer = await this.source.timeline(this.range, this.filters, MOST)
      if (turn !== this.turn) return
      this.known = new Knowledge(answer)
      this.fail(null)
      await this.hush()
    } catch (error) {
      this.fail(error)
    }
    if (turn === this.turn) delete this.place.dataset.busy
    this.render()
    this.rest()
  }

  /** Says what is listened to where nothing was found and nothing was asked for. */
  private async hush(): Promise<void> {
    this.silent = !this.known?.total && !this.state.query && !this.state.severity && this.source.live
    const sources = await this.source.sources()
    this.unheard.show(this.silent ? [] : sources)
    if (!this.silent) return this.silence.hide()
    const last = await this.source.events({ start: 0, end: Date.now() + 86_400_000 }, { text: '', severity: '' }, '')
    this.silence.show(sources, last.events[0], (from, to) => this.change({ from, to, zoom: null, live: false }))
    return undefined
  }

  private render(): void {
    const { state } = this
    const list = state.view === 'list'
    this.toolbar.show(state)
    this.incident.show(this.story, state.only)
    this.timeline.element.hidden = list || this.silent
    this.list.element.hidden = !list || this.silent
    this.bar.choose(state.view)
    if (this.known) this.timeline.show(this.known.content(), this.range, this.view)
    this.timeline.tell(this.story, state.only)
    this.timeline.select(state.event)
    this.showSpan()
    if (list) void this.list.refresh()
  }

  private showSpan(): void {
    this.bar.show(this.view, this.known?.total ?? 0)
  }

  /** Shows a part of the range, or a longer range where the part goes beyond it. */
  private look(view: Range): void {
    if (!this.known) return
    const whole = view.start === this.range.start && view.end === this.range.end
    const beyond = view.start < this.range.start || view.end > this.range.end
    if (beyond && this.source.live) {
      this.state = widened(this.state, this.range, view)
      this.range = rangeOf(this.state)
      this.toolbar.show(this.state)
    } else this.state = { ...this.state, zoom: whole ? null : clamp(view, this.range) }
    this.timeline.move(this.range, this.view)
    this.showSpan()
    this.rest()
  }

  /** After the movement: the address is written, and what is in view is asked for where only counts are known. */
  private rest(): void {
    clearTimeout(this.resting)
    this.resting = window.setTimeout(() => {
      this.note()
      if (this.source.live && this.known && !this.known.covers(this.range)) void this.load()
      else void this.lookCloser()
      if (this.state.view === 'list') void this.list.refresh()
    }, REST)
  }

  private async lookCloser(): Promise<void> {
    const { known, state } = this
    if (!state.zoom || !known?.isVague(state.zoom)) return
    const { start, end } = state.zoom
    const margin = (end - start) * 0.5
    const range = { start: start - margin, end: end + margin }
    try {
      const detail = await this.source.timeline(range, this.filters, MOST)
      if (known !== this.known) return
      known.lookCloser(range, detail)
      this.timeline.show(known.content(), this.range, this.view)
    } catch (error) {
      this.fail(error)
    }
  }

  private async chooseFinding(id: string, byReader: boolean): Promise<void> {
    this.findings.select(id)
    if (!id) {
      this.story = null
      return
    }
    try {
      const known = this.findings.get(id)
      const finding = known?.events ? known : await this.source.finding(id)
      this.findings.add([finding])
      this.story = storyOf(finding)
    } catch (error) {
      this.story = null
      this.fail(error)
    }
    if (!byReader) return
    this.state = { ...this.state, finding: id }
    this.zoomToStory()
    this.say(`Finding: ${oneLine(this.story?.finding.title ?? '', 200)}`)
  }

  /** Shows the time of the finding, with something before and after. */
  private zoomToStory(): void {
    if (!this.story) return
    const { start, end } = this.story
    const margin = Math.max(5000, (end - start) * 0.25)
    const around = { start: start - margin, end: end + margin }
    const view = this.source.live ? around : clamp(around, this.range)
    if (view.start < this.range.start || view.end > this.range.end) {
      const wide = Math.max(1_800_000, (end - start) * 2)
      const to = Math.min(Date.now(), end + wide)
      this.state = { ...this.state, zoom: view, from: rfc3339(start - wide), to: rfc3339(Math.max(to, view.end)), live: false }
      this.note()
      void this.load()
    } else {
      this.state = { ...this.state, zoom: view }
      this.note()
      this.render()
      this.rest()
    }
  }

  private async openEvent(id: string): Promise<void> {
    this.state = { ...this.state, event: id }
    this.note()
    this.timeline.select(id)
    this.body.classList.add('with-panel')
    this.panel.wait()
    try {
      const known = this.story?.members.find((one) => one.id === id) ?? (this.findings.get(id) as TapioEvent | undefined)
      const event = known ?? (await this.source.event(id))
      if (this.state.event === id) this.panel.show(event, this.findings.all.filter((one) => texts(one.attributes?.members).includes(id)))
    } catch (error) {
      this.panel.fail(error instanceof RefusedError && error.status === 404 ? `${error.message} It may have been removed by the store's limits.` : String(error))
    }
    if (!this.panel.element.contains(document.activeElement)) this.panel.element.focus({ preventScroll: innerWidth > 1000 })
  }

  private closeEvent(): boolean {
    if (this.panel.element.hidden) return false
    this.state = { ...this.state, event: '' }
    this.note()
    this.panel.hide()
    this.body.classList.remove('with-panel')
    this.timeline.select('')
    const target = this.state.view === 'list' ? this.list.element : this.timeline.element.querySelector<HTMLElement>('.surface')
    target?.focus({ preventScroll: true })
    return true
  }

  private relisten(): void {
    this.unlisten()
    this.unlisten = () => undefined
    if (!this.source.live || !this.state.live) return
    this.unlisten = this.source.listen(this.filters, {
      event: (event) => void this.fresh.push(event),
      finding: (finding) => this.hear(finding),
      state: (on) => this.toolbar.connected(on),
      lost: (count) => this.say(`${count} events passed too quickly to be shown; load the range again to see them`),
    })
  }

  private hear(finding: Finding): void {
    const fresh = this.findings.add([finding])
    if (fresh.length) this.say(`New finding: ${oneLine(finding.title ?? '', 200)}`)
    const followed = this.state.finding || this.findings.all[0]?.id
    if (finding.id !== followed) return
    void this.source.finding(finding.id).then((whole) => {
      this.findings.add([whole])
      return this.chooseFinding(finding.id, false).then(() => this.render())
    }, () => undefined)
  }

  private async refreshFindings(): Promise<void> {
    try {
      this.findings.add(await this.source.findings())
      this.unheard.show(this.silent ? [] : await this.source.sources())
    } catch {
      // the agent may be restarting; live mode says so, and the next turn tries again
    }
  }

  /** Moves on with the clock in live mode, and shows what came since. */
  private beat(): void {
    if (!this.state.live || document.hidden) return
    const before = this.range
    this.range = rangeOf(this.state)
    const shift = this.range.end - before.end
    if (this.state.zoom) this.state = { ...this.state, zoom: { start: this.state.zoom.start + shift, end: this.state.zoom.end + shift } }
    const fresh = this.fresh.splice(0)
    if (fresh.length) this.take(fresh)
    else this.timeline.move(this.range, this.view)
    this.showSpan()
  }

  private take(events: TapioEvent[]): void {
    const added = this.known?.add(events, this.range.end) ?? []
    if (!this.known || !added.length) return
    if (this.silent) {
      this.silent = false
      this.silence.hide()
      this.render()
    }
    this.timeline.show(this.known.content(), this.range, this.view)
    if (this.state.view === 'list') this.list.add(added)
    const bad = added.filter((event) => numberOf(event.severity) >= 17)
    if (bad.length) this.say(bad.length === 1 ? `${bad[0]!.severity}: ${oneLine(bad[0]!.title ?? bad[0]!.type, 120)}` : `${bad.length} new errors`)
  }

  private restyle(): void {
    this.timeline.restyle()
    this.findings.render()
    this.render()
  }

  private async copyLink(): Promise<void> {
    const address = `${location.href.split('#')[0]}#${write(fixed(this.state))}`
    history.replaceState(null, '', address)
    await navigator.clipboard?.writeText(address).catch(() => undefined)
  }

  private readonly shortcuts = {
    '/': () => this.toolbar.focusSearch(),
    '?': () => showKeys(),
    l: () => this.source.live && this.change({ live: !this.state.live }),
    t: () => this.change({ view: this.state.view === 'list' ? 'timeline' : 'list' }),
    j: () => this.nextFinding(1),
    k: () => this.nextFinding(-1),
  }

  private nextFinding(direction: 1 | -1): void {
    const all = this.findings.all
    const at = all.findIndex((one) => one.id === (this.story?.finding.id ?? ''))
    const next = all[Math.max(0, Math.min(all.length - 1, at + direction))]
    if (next) void this.chooseFinding(next.id, true)
  }

  private say(text: string): void {
    fill(this.voice, text)
  }

  private fail(error: unknown): void {
    this.problem.hidden = !error
    const words = error instanceof RefusedError ? error.message : `The agent does not answer (${String(error)}). Is it running?`
    fill(this.problem, error ? words : null)
  }
}
