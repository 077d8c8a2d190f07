/** Keys that work wherever the focus is, but while something is typed. */

export interface Shortcuts {
  /** What a key does, by its name. */
  readonly actions: Record<string, () => void>
  /** Closes what is open at the side; tells whether anything was. */
  close(): boolean
}

export function listenToKeys({ actions, close }: Shortcuts): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector('dialog[open]')) return
    if (event.key === 'Escape' && close()) return
    const { tagName } = event.target as HTMLElement
    const act = actions[event.key]
    if (!act || /^(INPUT|SELECT|TEXTAREA)$/.test(tagName)) return
    event.preventDefault()
    act()
  })
}
