/** Makes elements. Texts become text nodes and nothing else; no markup is ever parsed. */

import { inert } from './inert'

type Child = Node | string | null | undefined | false
type Attributes = Record<string, string | number | boolean | undefined | null | ((event: never) => void)>

/** Makes an element: attributes by name, listeners as `onclick`, children as nodes or as text (made inert). */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  set(element, attributes)
  append(element, children)
  return element
}

/** Makes an element of SVG. */
export function svg(tag: string, attributes: Attributes = {}, ...children: Node[]): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  set(element, attributes)
  element.append(...children)
  return element
}

function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener)
    else element.setAttribute(name, value === true ? '' : String(value))
  }
}

function append(element: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue
    element.append(typeof child === 'string' ? document.createTextNode(inert(child)) : child)
  }
}

/** Shows a text that comes from elsewhere: isolated, so that its direction changes nothing around it. */
export function foreign(text: string, className = ''): HTMLElement {
  return h('bdi', { class: className || undefined }, text)
}

/** Puts children in place of those an element has. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren()
  append(element, children)
}

/** Gives a setting of this browser, or keeps it; browsers may refuse both. */
export function remembered(name: string): string {
  try {
    return localStorage.getItem(`tapio.${name}`) ?? ''
  } catch {
    return ''
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`tapio.${name}`, value)
  } catch {
    // a browser that keeps nothing: the setting lasts as long as the page
  }
}
