/**
 * Text from logs, made harmless: it may hold terminal escapes, bidirectional overrides or a megabyte of anything.
 *
 * Control characters and what changes the direction of text are replaced by what they are called; the page sets texts by
 * textContent only, so markup stays text.
 */

// C0 and C1 but tab and newline, soft hyphen, bidi marks and overrides, zero-width and invisible characters, tags, noncharacters.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu

function escapeOf(one: string): string {
  const code = one.codePointAt(0)!
  if (code === 0x1b) return '␛'
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  if (code === 0x7f) return '␡'
  return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`
}

/** Replaces what cannot be seen by what can, keeping tabs and line ends. */
export function inert(text: string): string {
  return text.replace(UNSEEN, escapeOf)
}

/** Gives the first line of a text, inert, at most so many characters long. */
export function oneLine(text: string, length = 240): string {
  const start = text.length > length * 4 ? text.slice(0, length * 4) : text
  const line = inert(start.trimStart().split(/[\r\n]/, 1)[0]!.replaceAll('\t', ' '))
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

/** Says how long a text is, in characters of people: 1.0 MiB. */
export function size(length: number): string {
  if (length < 1024) return `${length} characters`
  if (length < 1024 * 1024) return `${(length / 1024).toFixed(1)} KiB`
  return `${(length / 1024 / 1024).toFixed(1)} MiB`
}
