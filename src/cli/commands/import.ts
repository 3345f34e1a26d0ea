import fs from 'node:fs'
import { toStratumError } from '../../errors/errno.ts'
import { StratumError } from '../../errors/stratum-error.ts'
import { shortId } from '../../names/commit-id.ts'
import { parseLabel } from '../../names/label.ts'
import { parseReference } from '../../names/reference.ts'
import { parseTag } from '../../names/tag.ts'
import { nodePath, toUser } from '../../names/text.ts'
import { type ArchiveResult, importArchive } from '../../repository/import-archive.ts'
import { importTree } from '../../repository/import.ts'
import type { ImportResult } from '../../repository/import-with.ts'
import { importBare } from '../../repository/import-bare.ts'
import { count, formatBytes } from '../format.ts'
import { absolute, type Command, type Invocation, openContext, type Outcome } from '../invocation.ts'

interface Options {
  readonly label?: string
  readonly tag?: string
  readonly message?: string
  readonly bare: boolean
  readonly onto?: string
  readonly oneFileSystem: boolean
  readonly includeMounts: boolean
  readonly plain: boolean
  readonly platform?: string
  readonly ignoreSpace: boolean
}

const STDIN = '-'
const PARTIAL = 3

export const run: Command<Options> = async invocation =>
  invocation.options.bare ? layOver(invocation) : importNew(invocation)

async function importNew(invocation: Invocation<Options>): Promise<Outcome> {
  const { args, options } = invocation
  if (options.label === undefined || args.length > 1)
    throw new StratumError('usage', 'import needs --label <label>', {
      hint: 'stratum import <directory> --label <label>; over an existing label: stratum import --bare <directory> <label>',
    })
  const label = parseLabel(options.label)
  const tag = options.tag === undefined ? undefined : parseTag(options.tag)
  const commit = { label, tag, message: options.message }
  const source = args[0] === STDIN ? process.stdin : absolute(args[0])
  if (typeof source === 'string' && isDirectory(source)) {
    const mounts = options.includeMounts ? 'include' : options.oneFileSystem ? 'skip' : 'refuse'
    const context = await openContext(invocation, { create: true })
    return outcomeOf(await importTree(context, { ...commit, path: source, mounts }), [])
  }
  const { plain, platform, ignoreSpace } = options
  const context = await openContext(invocation, { create: true })
  return outcomeOfArchive(await importArchive(context, { ...commit, source, plain, platform, ignoreSpace }))
}

function isDirectory(path: string): boolean {
  try {
    return fs.statSync(nodePath(path)).isDirectory()
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
}

function outcomeOfArchive(result: ArchiveResult): Outcome {
  const outcome = outcomeOf(result, [])
  const lost = result.lost.map(toUser)
  if (lost.length === 0) return outcome
  return {
    ...outcome,
    json: { ...outcome.json, lostAcls: lost },
    warnings: lost.map(name => `${name} has an ACL that names users without their numbers: it was left out`),
    exitCode: PARTIAL,
  }
}

async function layOver(invocation: Invocation<Options>): Promise<Outcome> {
  const { args, options } = invocation
  const target = args[1] ?? options.label
  if (target === undefined)
    throw new StratumError('usage', 'import --bare needs the label behind the directory', {
      hint: 'stratum import --bare <directory> <label[:tag]>',
    })
  const reference = parseReference(target)
  const tag = reference.kind === 'name' ? reference.name : options.tag === undefined ? undefined : parseTag(options.tag)
  const onto =
    options.onto === undefined
      ? undefined
      : parseReference(options.onto.includes(':') ? options.onto : `${reference.label}:${options.onto}`)
  const context = await openContext(invocation)
  const { label } = reference
  const result = await importBare(context, { label, path: absolute(args[0]), tag, onto, message: options.message })
  const name = `${label}:${tag ?? shortId(result.metadata.id)}`
  return outcomeOf(result, [
    `laid over ${shortId(result.onto)}; a mounted HEAD stays as it is: stratum apply ${name} <mountpoint>`,
  ])
}

function outcomeOf({ metadata, isNew, unstable, label, tag }: ImportResult, notes: readonly string[]): Outcome {
  const { id, files, bytes } = metadata
  const reference = `${label}:${id}`
  return {
    json: { label, commit: id, tag: tag ?? id, isNew, files, bytes, unstable: unstable.map(toUser) },
    text: reference,
    quiet: reference,
    notes: [
      `${count(files, 'file')}, ${formatBytes(bytes)}${isNew ? '' : '; the same tree was in the store already'}`,
      ...notes,
    ],
    warnings: unstable.map(path => `${toUser(path)} changed while it was read`),
    exitCode: unstable.length > 0 ? PARTIAL : 0,
  }
}
