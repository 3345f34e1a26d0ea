import { StratumError } from '../errors/stratum-error.ts'
import { type Label, parseLabel, quote } from './label.ts'
import { isHead, isTag, parseTag, type Tag } from './tag.ts'

/**
 * What a user names: a label's HEAD, or one of its commits by tag, id or prefix of an id. Which of the last three is meant, only the
 * store can tell (a tag wins), so the text is kept: `refs/resolve.ts` looks it up.
 */
export type Reference =
  | { readonly label: Label; readonly kind: 'head' }
  | { readonly label: Label; readonly kind: 'name'; readonly name: Tag }

/** Reads `label`, `label:HEAD`, `label:tag`, `label:<commit id or prefix>`. @throws usage */
export function parseReference(text: string): Reference {
  const colon = text.lastIndexOf(':')
  if (colon < 0) return { label: parseLabel(text), kind: 'head' }
  const label = parseLabel(text.slice(0, colon))
  const name = text.slice(colon + 1)
  if (isHead(name)) return { label, kind: 'head' }
  if (name === '')
    throw new StratumError('usage', `${quote(text)} ends with a colon: name a tag behind it, or leave it away for HEAD`)
  if (!isTag(name)) parseTag(name)
  return { label, kind: 'name', name: name as Tag }
}

export function formatReference(reference: Reference): string {
  return reference.kind === 'head' ? reference.label : `${reference.label}:${reference.name}`
}
