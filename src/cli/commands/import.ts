import { parseLabel } from '../../names/label.ts'
import { parseTag } from '../../names/tag.ts'
import { toUser } from '../../names/text.ts'
import { importTree } from '../../repository/import.ts'
import { count, formatBytes } from '../format.ts'
import { absolute, type Command, openContext } from '../invocation.ts'

interface Options {
  readonly label: string
  readonly tag?: string
  readonly message?: string
  readonly oneFileSystem: boolean
  readonly includeMounts: boolean
}

export const run: Command<Options> = async invocation => {
  const { args, options } = invocation
  const label = parseLabel(options.label)
  const tag = options.tag === undefined ? undefined : parseTag(options.tag)
  const mounts = options.includeMounts ? 'include' : options.oneFileSystem ? 'skip' : 'refuse'
  const context = await openContext(invocation, { create: true })
  const result = await importTree(context, { label, tag, path: absolute(args[0]), message: options.message, mounts })
  const { metadata, isNew, unstable } = result
  const reference = `${label}:${metadata.id}`
  return {
    json: {
      label,
      commit: metadata.id,
      tag: tag ?? metadata.id,
      isNew,
      files: metadata.files,
      bytes: metadata.bytes,
      unstable: unstable.map(toUser),
    },
    text: reference,
    quiet: reference,
    notes: [
      `${count(metadata.files, 'file')}, ${formatBytes(metadata.bytes)}${isNew ? '' : '; the same tree was in the store already'}`,
    ],
    warnings: unstable.map(path => `${toUser(path)} changed while it was read`),
    exitCode: unstable.length > 0 ? 3 : 0,
  }
}
