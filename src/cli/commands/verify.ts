import { parseReference } from '../../names/reference.ts'
import { verifyCommits } from '../../repository/verify.ts'
import { findingJson, findingLines } from '../findings.ts'
import { count, formatBytes } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly quick: boolean
}

const INTEGRITY = 9

export const run: Command<Options> = async invocation => {
  const [text] = invocation.args
  const { quick } = invocation.options
  const context = await openContext(invocation)
  const reference = text === undefined ? undefined : parseReference(text)
  const { findings, commits, objects, bytes } = await verifyCommits(context, { reference, quick })
  const isIntact = findings.every(({ severity }) => severity !== 'damage')
  const what = `${count(commits.length, 'commit')}, ${count(objects, 'object')}, ${formatBytes(bytes)}`
  return {
    json: {
      commits: commits.length,
      objects,
      bytes,
      quick,
      intact: isIntact,
      findings: findings.map(findingJson),
    },
    text: findings.flatMap(finding => findingLines(finding)),
    notes: isIntact
      ? [`intact: ${what}${quick ? ' (contents were not read)' : ''}`]
      : [`checked ${what}`, 'stratum fsck --repair brings back what can be brought back'],
    exitCode: isIntact ? 0 : INTEGRITY,
  }
}
