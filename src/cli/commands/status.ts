import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { toUser } from '../../names/text.ts'
import type { RecordedMount } from '../../mounts/records.ts'
import type { Context } from '../../repository/context.ts'
import { type CommitStatus, type HeadStatus, readStatus } from '../../repository/status.ts'
import { count, formatBytes, formatTable, formatTime } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'
import type { Outcome } from '../invocation.ts'

interface Options {
  readonly exitCode: boolean
}

const EXIT_DIFFERENCES = 20

export const run: Command<Options> = async invocation => {
  const context = await openContext(invocation)
  const [what] = invocation.args
  if (what === undefined) return showMounts(context)
  const status = await readStatus(context, parseReference(what))
  if (status.kind === 'commit') return showCommit(status)
  return { ...showHead(status), exitCode: status.dirty && invocation.options.exitCode ? EXIT_DIFFERENCES : 0 }
}

/** Without an argument: everything of the store that is mounted. */
async function showMounts({ store }: Context): Promise<Outcome> {
  const { listMounted } = await import('../../mounts/records.ts')
  const mounts = listMounted(store)
  const rows = mounts.map(mounted => [
    nameOf(mounted),
    toUser(mounted.mountpoint),
    mounted.readOnly ? 'read-only' : 'writable',
    mounted.since === undefined ? '' : formatTime(mounted.since),
  ])
  return {
    json: { store: toUser(store.path), mounts: mounts.map(mountJson) },
    text: mounts.length === 0 ? '' : formatTable(['WHAT', 'MOUNTPOINT', 'MODE', 'SINCE'], rows),
    quiet: mounts.map(({ mountpoint }) => toUser(mountpoint)).join('\n'),
    notes: mounts.length === 0 ? ['nothing is mounted'] : [],
  }
}

function nameOf({ label, tag, commit, generation }: RecordedMount): string {
  return generation !== undefined ? label : `${label}:${tag ?? shortId(commit)}`
}

function mountJson(mounted: RecordedMount): Record<string, unknown> {
  const { label, tag, commit, readOnly, since, pid } = mounted
  return {
    label,
    ...(tag && { tag }),
    commit,
    mountpoint: toUser(mounted.mountpoint),
    writable: !readOnly,
    ...(since && { since, pid }),
  }
}

function mountLines(mounts: readonly RecordedMount[]): string[] {
  if (mounts.length === 0) return ['mounted      no']
  return mounts.map(
    ({ mountpoint, since, readOnly }) =>
      `mounted      ${toUser(mountpoint)}${since === undefined ? '' : ` since ${formatTime(since)}`}${readOnly ? ', read-only' : ''}`,
  )
}

function showHead({ label, head, base, lastCommit, mounts, uncommitted, dirty, unclean }: HeadStatus): Outcome {
  const { added, removed, modified, bytesAdded } = uncommitted
  const changes = dirty ? `+${added} -${removed} M${modified}, ${formatBytes(bytesAdded)}` : 'none'
  return {
    json: {
      label,
      base: head.base,
      lastCommit: head.lastCommit,
      committed: lastCommit.timestamp,
      files: lastCommit.files,
      bytes: lastCommit.bytes,
      generation: head.generation,
      dirty,
      unclean,
      uncommitted,
      mounts: mounts.map(mountJson),
    },
    text: [
      `label        ${label}`,
      ...mountLines(mounts),
      `base         ${shortId(head.base)} of ${formatTime(base.timestamp)}`,
      `last commit  ${shortId(head.lastCommit)} of ${formatTime(lastCommit.timestamp)}: ${count(lastCommit.files, 'file')}, ${formatBytes(lastCommit.bytes)}`,
      `uncommitted  ${changes}`,
    ],
    quiet: mounts.map(({ mountpoint }) => toUser(mountpoint)).join('\n'),
    warnings: unclean
      ? [`the machine went down while ${label} was mounted: see what stratum diff ${label} shows before you commit`]
      : [],
  }
}

function showCommit({ label, tag, commit, mounts }: CommitStatus): Outcome {
  return {
    json: {
      label,
      ...(tag && { tag }),
      commit: commit.id,
      committed: commit.timestamp,
      files: commit.files,
      bytes: commit.bytes,
      mounts: mounts.map(mountJson),
    },
    text: [
      `commit       ${label}:${tag ?? commit.id} is ${shortId(commit.id)} of ${formatTime(commit.timestamp)}`,
      ...mountLines(mounts),
      `size         ${count(commit.files, 'file')}, ${formatBytes(commit.bytes)}`,
    ],
    quiet: mounts.map(({ mountpoint }) => toUser(mountpoint)).join('\n'),
  }
}
