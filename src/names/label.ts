import { StratumError } from '../errors/stratum-error.ts'

declare const labelBrand: unique symbol
/** The name of one line of history: an OCI repository name such as `team-a/web`. */
export type Label = string & { readonly [labelBrand]: true }

// OCI distribution specification, "repository name"
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const LABEL = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const FOLDER_BYTES_MAX = 255
const RULE =
  'A label is made of lower-case letters and digits, joined by single . or _, by __ or by -, in parts separated by /: web, team-a/web, models/llama_3.1'

export function isLabel(text: string): text is Label {
  return LABEL.test(text) && folderOf(text).length <= FOLDER_BYTES_MAX
}

/** @throws usage, with what is allowed */
export function parseLabel(text: string): Label {
  if (isLabel(text)) return text
  const reason =
    folderOf(text).length > FOLDER_BYTES_MAX ? `is longer than ${FOLDER_BYTES_MAX} bytes` : 'is not a label'
  const [before, tag] = text.split(':')
  throw new StratumError('usage', `${quote(text)} ${reason}`, {
    hint: tag !== undefined && isLabel(before) ? `Only the label is meant here, without a tag: ${before}` : RULE,
  })
}

/** A label as one name in a folder: `team-a/web` is `team-a%2Fweb`, so that labels never nest. */
export function labelFolder(label: Label): string {
  return folderOf(label)
}

/** The label that a folder name stands for, or undefined if it is none. */
export function labelOfFolder(name: string): Label | undefined {
  const text = name.replaceAll('%2F', '/')
  return isLabel(text) && folderOf(text) === name ? text : undefined
}

function folderOf(text: string): string {
  return text.replaceAll('/', '%2F')
}

/** Foreign text for a message: quoted, control characters made visible, cut where it would flood a terminal. */
export function quote(text: string): string {
  const shown = JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text)
  return shown.replace(
    /[\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
