import { shortId } from '../../names/commit-id.ts'
import { parseLabel } from '../../names/label.ts'
import { toUser } from '../../names/text.ts'
import { initLabel } from '../../repository/init.ts'
import { migrateDirectory } from '../../repository/migrate.ts'
import { absolute, type Command, openContext } from '../invocation.ts'

interface Options {
  readonly migrate: boolean
  readonly removeOriginal: boolean
}

export const run: Command<Options> = async invocation => {
  const [name, place] = invocation.args
  const { migrate, removeOriginal } = invocation.options
  const label = parseLabel(name)
  const request = { label, mountpoint: absolute(place) }
  const context = await openContext(invocation, { create: true })
  const result = migrate
    ? await migrateDirectory(context, { ...request, removeOriginal })
    : await initLabel(context, request)
  const mountpoint = toUser(result.mountpoint)
  const original = result.original === undefined ? undefined : toUser(result.original)
  return {
    json: { label, commit: result.commit, mountpoint, ...(original && { original }) },
    text: mountpoint,
    quiet: mountpoint,
    notes: [
      migrate
        ? `${mountpoint} is now HEAD of ${label}; what was there is ${label}:${shortId(result.commit)}`
        : `HEAD of ${label}, empty, is mounted`,
      ...(original === undefined ? [] : [`the directory as it was: ${original} (remove it when you like)`]),
      `to mount it at every boot, in /etc/fstab: ${label} ${mountpoint} stratum defaults 0 0`,
    ],
  }
}
