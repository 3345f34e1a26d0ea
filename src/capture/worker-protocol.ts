import type { Fault } from '../host/faults.ts'
import type { StagedFolder } from '../objects/place-objects.ts'
import type { Store } from '../store/layout.ts'
import type { FileReading } from './read-file.ts'

/** What a thread is started with. */
export interface WorkerSetup {
  readonly store: Store
  /** Its own folder for staged objects; undefined where only digests are wanted. */
  readonly folder: string | undefined
  readonly fault: Fault | undefined
}

/** Files of directories that the main thread holds open: descriptors belong to the whole process. */
export interface ReadJob {
  readonly number: number
  readonly files: readonly { readonly directory: number; readonly name: string }[]
}

export type WorkerRequest = ReadJob | 'finish'

export type WorkerReply =
  | { readonly kind: 'read'; readonly number: number; readonly readings: readonly (FileReading | undefined)[] }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly path: string | undefined }
  | { readonly kind: 'finished'; readonly staged: StagedFolder }
