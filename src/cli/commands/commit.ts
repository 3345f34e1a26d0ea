import { StratumError } from '../../errors/stratum-error.ts'
import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { toUser } from '../../names/text.ts'
import { commitHead, type CommitResult } from '../../repository/commit.ts'
import { formatBytes } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly message?: string
  readonly freeze: boolean
  readonly idle: boolean
  /** Milliseconds. */
  readonly maxPause: number
  /** Seconds. */
  readonly deadline: number
  readonly allowUnclean: boolean
}

export const run: Command<Options> = async invocation => {
  const { args, options } = invocation
  const reference = parseReference(args[0])
  if (reference.kind === 'head' && args[0].includes(':'))
    throw new StratumError('usage', `HEAD cannot be a tag: name a new tag, or none`)
  const context = await openContext(invocation)
  const result = await commitHead(context, {
    label: reference.label,
    tag: reference.kind === 'head' ? undefined : reference.name,
    message: options.message,
    consistency: options.freeze ? 'freeze' : options.idle ? 'idle' : 'live',
    maxPauseMs: options.maxPause,
    deadlineMs: options.deadline * 1000,
    freezers: undefined,
    allowUnclean: options.allowUnclean,
  })
  const { commit, changes, label, unstable, torn, pauseMs, remounted } = result
  const { id, files, bytes } = commit.metadata
  const { added, modified, removed } = changes
  return {
    json: {
      label,
      commit: id,
      tag: result.tag ?? id,
      parent: result.parent,
      unchanged: result.unchanged,
      files,
      bytes,
      changes: { added, modified, removed, bytes: changes.bytes },
      pauseMs,
      remounted,
      unstable: unstable.map(toUser),
    },
    text: `${label}:${id}`,
    quiet: `${label}:${id}`,
    notes: notesOf(result),
    warnings: [
      ...unstable.map(path => `${toUser(path)} did not hold still`),
      ...torn.map(path => `${toUser(path)} was a hard link before the upperdir was copied`),
    ],
    exitCode: unstable.length > 0 ? 3 : 0,
  }
}

function notesOf({ label, parent, unchanged, changes, pauseMs, remounted }: CommitResult): string[] {
  if (unchanged) return [`nothing changed since ${label}:${shortId(parent)}`]
  const { added, modified, removed, bytes } = changes
  const notes = [`+${added} -${removed} M${modified}, ${formatBytes(bytes)}`]
  if (pauseMs > 0) notes.push(`writers stood still for ${pauseMs.toFixed(1)} ms`)
  if (remounted.how === 'later') notes.push(`the mount stays on its old base: ${remounted.why}`)
  return notes
}
