/** The parts of the page, and what they show: the range, what is known of it, and the finding that is looked at. */

import { Bar, legend, type Listener as BarListener } from './bar'
import { fill, h } from './dom'
import { FindingList } from './findings'
import { IncidentView, type Listener as IncidentListener } from './incident'
import type { Knowledge } from './knowledge'
import { EventList } from './list'
import type { Filters, Range } from './model'
import { Panel, type Listener as PanelListener } from './panel'
import { Silence } from './silence'
import { RefusedError, type Source } from './source'
import { rangeOf, read, write, type State } from './state'
import type { Story } from './story'
import { TimelineView, type Listener as TimelineListener } from './timeline/timeline'
import { Toolbar, type Listener as ToolbarListener } from './toolbar'
import { Unheard } from './unheard'

/** What the parts ask for. */
export interface Wishes {
  toolbar: ToolbarListener
  incident: IncidentListener
  timeline: TimelineListener
  bar: BarListener
  panel: PanelListener
  finding(id: string): void
  event(id: string): void
}

export class Page {
  state: State = read(location.hash)
  range: Range
  known: Knowledge | null = null
  story: Story | null = null
  /** Whether nothing happened and nothing was asked for, so that the page says what is listened to. */
  silent = true

  readonly toolbar: Toolbar
  readonly findings: FindingList
  readonly incident: IncidentView
  readonly timeline: TimelineView
  readonly list: EventList
  readonly panel: Panel
  readonly silence = new Silence()
  readonly unheard = new Unheard()
  readonly body = h('div', { class: 'body' })
  private readonly bar: Bar
  private readonly voice = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' })
  private readonly problem = h('div', { class: 'problem banner', role: 'alert', hidden: true })

  constructor(
    readonly place: HTMLElement,
    readonly source: Source,
    wishes: Wishes,
  ) {
    this.range = source.range ?? rangeOf(this.state)
    this.toolbar = new Toolbar(wishes.toolbar, source.live)
    this.findings = new FindingList(wishes.finding)
    this.incident = new IncidentView(wishes.incident)
    this.timeline = new TimelineView(wishes.timeline)
    this.bar = new Bar(wishes.bar)
    this.list = new EventList((cursor) => source.events(this.view, this.filters, cursor), wishes.event, (error) => this.fail(error))
    this.panel = new Panel(wishes.panel)
    this.timeline.element.append(legend())
    this.findings.element.append(this.unheard.element)
    const events = h('section', { class: 'events', 'aria-label': 'Events' }, this.bar.element, this.silence.element, this.timeline.element, this.list.element)
    this.body.append(this.findings.element, h('main', {}, this.incident.element, events), this.panel.element)
    fill(place, this.toolbar.element, this.problem, this.body, this.voice)
  }

  /** The part of the range that is shown. */
  get view(): Range {
    return this.state.zoom ?? this.range
  }

  get filters(): Filters {
    return { text: this.state.query, severity: this.state.severity }
  }

  /** Writes what is looked at into the address. */
  note(): void {
    const fragment = write(this.state)
    history.replaceState(null, '', fragment ? `#${fragment}` : location.pathname + location.search)
  }

  render(): void {
    const { state } = this
    const list = state.view === 'list'
    this.toolbar.show(state)
    this.incident.show(this.story, state.only)
    this.timeline.element.hidden = list || this.silent
    this.list.element.hidden = !list || this.silent
    this.bar.choose(state.view)
    this.draw()
    this.timeline.tell(this.story, state.only)
    this.timeline.select(state.event)
    this.showSpan()
    if (list) void this.list.refresh()
  }

  /** Shows on the timeline what is known. */
  draw(): void {
    if (this.known) this.timeline.show(this.known.content(), this.range, this.view)
  }

  showSpan(): void {
    this.bar.show(this.view, this.known?.total ?? 0)
  }

  /** Tells something to screen readers. */
  say(text: string): void {
    fill(this.voice, text)
  }

  /** Shows what went wrong; null takes it back. */
  fail(error: unknown): void {
    this.problem.hidden = !error
    const words = error instanceof RefusedError ? error.message : `The agent does not answer (${String(error)}). Is it running?`
    fill(this.problem, error ? words : null)
  }
}
