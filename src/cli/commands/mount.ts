import type { RefreshedHead } from '../../heads/refresh-copied.ts'
import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { toUser } from '../../names/text.ts'
import { mountReference } from '../../repository/mount.ts'
import { absolute, type Command, callerUid, openContext } from '../invocation.ts'

interface Options {
  readonly readOnly: boolean
  readonly allowSuidAndDevices: boolean
}

export const run: Command<Options> = async invocation => {
  const [target, place] = invocation.args
  const { readOnly, allowSuidAndDevices } = invocation.options
  const reference = parseReference(target)
  const context = await openContext(invocation)
  const mountpoint = place === undefined ? undefined : absolute(place)
  const mounted = await mountReference(context, {
    reference,
    mountpoint,
    readOnly,
    allowSuidAndDevices,
    uid: callerUid(),
  })
  const shown = toUser(mounted.mountpoint)
  const { label, commit, tag, writable } = mounted
  const { refreshed } = mounted
  return {
    json: {
      label,
      commit,
      ...(tag === undefined ? {} : { tag }),
      mountpoint: shown,
      writable,
      ...(refreshed === undefined ? {} : { refreshed: { base: refreshed.base, torn: refreshed.torn.map(toUser) } }),
    },
    text: shown,
    quiet: shown,
    notes: [writable ? `HEAD of ${label}, writable` : `${label}${tag === undefined ? '' : `:${tag}`}, read-only`],
    warnings: refreshed === undefined ? [] : warningsOf(label, refreshed),
  }
}

function warningsOf(label: string, { base, torn }: RefreshedHead): string[] {
  return [
    `HEAD of ${label} was copied, or written by another kernel: what it held is kept as ${shortId(base)}, its base now`,
    ...torn.map(path => `${toUser(path)} was a hard link before the upperdir was copied`),
  ]
}
