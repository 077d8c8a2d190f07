/** Asks for the token where the agent wants one. */

import { fill, h } from './dom'
import { RefusedError, type Agent } from './source'

/** Shows the form until the agent accepts a token. */
export function askForToken(place: HTMLElement, agent: Agent): Promise<void> {
  return new Promise((resolve) => {
    const problem = h('p', { class: 'problem', role: 'alert', id: 'token-problem' })
    const input = h('input', { type: 'password', id: 'token', autocomplete: 'current-password', required: true, 'aria-describedby': 'token-problem' })
    const form = h('form', { class: 'session' },
      h('h1', {}, 'tapio'), h('p', {}, 'This agent asks for its token: the one in the configuration of its extension ', h('code', {}, 'ui'), '.'),
      h('label', { for: 'token' }, 'Token'), input, problem, h('button', { class: 'primary' }, 'Open'))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      void agent.open(input.value).then(resolve, (error: unknown) => {
        fill(problem, error instanceof RefusedError && error.status === 401 ? 'The agent refused this token.' : String(error))
        input.select()
      })
    })
    fill(place, h('main', {}, form))
    input.focus()
  })
}
