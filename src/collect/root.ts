import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'

/** Something that keeps a commit. */
export interface Root {
  readonly commit: CommitId
  readonly kind: RootKind
  /** As people know it: `app:v1`, `the base of HEAD of app`, `the mount of app at /srv/app`. */
  readonly holder: string
  readonly label?: Label
}

export type RootKind = 'tag' | 'head' | 'move' | 'mount' | 'pin' | 'other'

/** Where roots come from. What it cannot read or understand it throws: then nothing is deleted. */
export interface RootSource {
  /** For messages: `refs`, `mounts`. */
  readonly name: string
  read(signal: AbortSignal | undefined): readonly Root[] | Promise<readonly Root[]>
}
