/**
 * Paths inside Stratum are latin1 text, a character for each byte, because names are bytes and need not be UTF-8. What comes from a
 * user or goes to one is UTF-8. These two turn one into the other; for ASCII they change nothing.
 */
export function fromUser(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Bytes that are no UTF-8 are shown as \xNN, control characters too, so that a name cannot play with a terminal. */
export function toUser(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString('utf8')
  const clean = text.includes('\ufffd') ? bytes.replace(/[\x80-\xff]/g, hexEscape) : text
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return clean.replace(/[\x00-\x1f\x7f\u0080-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, hexEscape)
}

function hexEscape(character: string): string {
  const code = character.charCodeAt(0)
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** The same bytes for the calls of Node's own. */
export function nodePath(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}
