import { type CommitId, isCommitId } from '../names/commit-id.ts'
import { isLabel, type Label } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'

/**
 * What a mount of Stratum says of itself in the source field of mountinfo, so that everything can be found out again from the kernel
 * alone: `stratum:app@<commit>.<generation>?store=<id>` is a HEAD, `stratum:app:v1@<commit>?store=<id>` a commit, read-only.
 */
export interface MountSource {
  readonly label: Label
  readonly commit: CommitId
  readonly store: string
  /** Of a HEAD. */
  readonly generation: number | undefined
  /** The tag by which a read-only mount was asked for. */
  readonly tag: Tag | undefined
}

const SOURCE = /^stratum:([^:@?]+)(?::([^@?]+))?@([0-9a-f]{64})(?:\.(\d+))?\?store=([0-9a-f-]{36})$/

export function formatMountSource({ label, commit, store, generation, tag }: MountSource): string {
  const what = generation === undefined ? `${label}:${tag ?? commit}@${commit}` : `${label}@${commit}.${generation}`
  return `stratum:${what}?store=${store}`
}

export function parseMountSource(text: string): MountSource | undefined {
  const [, label, tag, commit, generation, store] = SOURCE.exec(text) ?? []
  if (label === undefined || !isLabel(label) || !isCommitId(commit)) return undefined
  return {
    label,
    commit,
    store,
    generation: generation === undefined ? undefined : Number(generation),
    tag: tag !== undefined && tag !== commit && isTag(tag) ? tag : undefined,
  }
}
