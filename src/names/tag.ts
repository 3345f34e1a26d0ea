import { StratumError } from '../errors/stratum-error.ts'
import { type CommitId, isCommitId } from './commit-id.ts'
import { quote } from './label.ts'

declare const tagBrand: unique symbol
/** A name for one commit of a label: an OCI tag, never HEAD. */
export type Tag = string & { readonly [tagBrand]: true }

// OCI distribution specification, "tag"
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const RULE = 'A tag has at most 128 letters, digits, _ . and -, and does not begin with . or -: v1.0, nightly-2026'

/** The tag with one habit: on the command line it follows HEAD (store.md 1). */
export const LATEST = 'latest' as Tag

export function isTag(text: string): text is Tag {
  return TAG.test(text) && !isHead(text)
}

export function isHead(text: string): boolean {
  return text.toUpperCase() === 'HEAD'
}

/** @throws usage, with what is allowed */
export function parseTag(text: string): Tag {
  if (isHead(text))
    throw new StratumError('usage', `${quote(text)} cannot be a tag: HEAD is the writable state of the label`)
  if (isTag(text)) return text
  const tag = text.slice(text.lastIndexOf(':') + 1)
  throw new StratumError('usage', `${quote(text)} is not a tag`, {
    hint: text.includes(':') && isTag(tag) ? `Only the tag is meant here, without its label: ${tag}` : RULE,
  })
}

/** A tag to be given to a commit: one that looks like a commit id may only name that very commit. @throws usage */
export function checkTagFor(tag: Tag, commit: CommitId): void {
  if (isCommitId(tag) && tag !== commit) {
    throw new StratumError(
      'usage',
      `${tag.slice(0, 12)}… is the id of another commit and cannot be a tag of ${commit.slice(0, 12)}`,
    )
  }
}
