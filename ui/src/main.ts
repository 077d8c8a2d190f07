/** Starts the page: from the file it is in, or from the agent that served it. */

import './style.css'
import { App } from './app'
import { fill, h } from './dom'
import { IncidentFile } from './file'
import { askForToken } from './session'
import { Agent, RefusedError, type Source } from './source'

async function start(place: HTMLElement): Promise<void> {
  const agent = new Agent()
  const source: Source = IncidentFile.embedded() ?? agent
  try {
    if (source === agent) await agent.settings()
  } catch (error) {
    if (!(error instanceof RefusedError && error.status === 401)) throw error
    await askForToken(place, agent)
  }
  await new App(place, source).start()
}

const place = document.getElementById('tapio')!
start(place).catch((error: unknown) => {
  const words = error instanceof RefusedError ? error.message : `The agent does not answer (${String(error)}). Is it running?`
  const again = h('button', { class: 'primary' }, 'Try again')
  again.addEventListener('click', () => location.reload())
  fill(place, h('main', {}, h('div', { class: 'session' }, h('h1', {}, 'tapio'), h('p', { class: 'problem', role: 'alert' }, words), again)))
})
