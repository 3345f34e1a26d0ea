import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { fromUser, toUser } from '../../names/text.ts'
import { type ApplyResult, applyCommit, previewApply } from '../../repository/apply.ts'
import { count } from '../format.ts'
import { absolute, type Command, openContext } from '../invocation.ts'
import { asJson, asLine } from './diff.ts'

interface Options {
  readonly path?: string
  readonly save: boolean
  readonly dryRun: boolean
}

export const run: Command<Options> = async invocation => {
  const [name, place] = invocation.args
  const { save, dryRun } = invocation.options
  const path =
    invocation.options.path === undefined ? undefined : fromUser(invocation.options.path).replaceAll(/^\/+|\/+$/g, '')
  const context = await openContext(invocation)
  const request = { reference: parseReference(name), mountpoint: absolute(place), path, save }
  if (dryRun) {
    const differences = await previewApply(context, request)
    return {
      json: { differences: differences.length },
      jsonLines: differences.map(asJson),
      text: differences.map(asLine),
    }
  }
  const result = await applyCommit(context, request)
  const { label, commit, saved, how, written, kept } = result
  return {
    json: {
      label,
      commit,
      mountpoint: toUser(result.mountpoint),
      how,
      written,
      ...(saved && { saved }),
      ...(kept.length > 0 && { kept: kept.map(toUser) }),
      ...(result.why && { why: result.why }),
    },
    text: `${label}:${commit}`,
    quiet: `${label}:${commit}`,
    notes: notesOf(result),
    warnings: kept.map(
      path => `${toUser(path)} stays as it is: somebody wrote to it meanwhile, or something is mounted there`,
    ),
    exitCode: kept.length > 0 ? 3 : 0,
  }
}

function notesOf({ label, commit, mountpoint, saved, how, written, kept, why }: ApplyResult): string[] {
  const notes = [
    how === 'unchanged'
      ? `HEAD of ${label} is as ${shortId(commit)} already`
      : `HEAD of ${label} at ${toUser(mountpoint)} is ${shortId(commit)}`,
  ]
  if (how === 'written')
    notes.push(`${count(written, 'path')} written through the mount${why === undefined ? '' : `: ${why}`}`)
  if (kept.length > 0)
    notes.push(`${count(kept.length, 'path')} left as they are: apply again, or see stratum diff ${label}`)
  if (saved !== undefined) notes.push(`what was there before is ${label}:${saved}`)
  return notes
}
