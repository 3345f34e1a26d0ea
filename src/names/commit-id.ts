declare const commitIdBrand: unique symbol
/** A commit's metadata hash: 64 lower-case hexadecimal digits. */
export type CommitId = string & { readonly [commitIdBrand]: true }

const COMMIT_ID = /^[0-9a-f]{64}$/
/** Shorter prefixes than this are never taken for a commit. */
export const PREFIX_DIGITS_MIN = 8
const PREFIX = /^[0-9a-f]{8,64}$/

export function isCommitId(text: string): text is CommitId {
  return COMMIT_ID.test(text)
}

export function isCommitPrefix(text: string): boolean {
  return PREFIX.test(text)
}

/** As people read it. */
export function shortId(id: CommitId): string {
  return id.slice(0, 12)
}
