import { treeDepth } from '../../hashes/merkle.ts'
import { parseReference } from '../../names/reference.ts'
import { showCommit } from '../../repository/browse.ts'
import { formatBytes, formatCount, formatTime } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

export const run: Command = async invocation => {
  const context = await openContext(invocation)
  const { metadata, tags } = await showCommit(context, parseReference(invocation.args[0]))
  const { id, merkleRoot, timestamp, parent, files, bytes, imageDigest, message, author } = metadata
  const lines = [
    ['commit', id],
    ['tags', tags.join(', ') || '(none)'],
    ['merkle root', merkleRoot],
    ['image digest', imageDigest],
    ['committed', `${formatTime(timestamp)}${author === undefined ? '' : ` by ${author}`}`],
    ['parent', parent ?? '(none)'],
    ['files', `${formatCount(files)} (Merkle tree of depth ${treeDepth(files)})`],
    ['size', formatBytes(bytes)],
    ...(message === undefined ? [] : [['message', message]]),
  ]
  return {
    json: {
      commit: id,
      tags,
      merkleRoot,
      imageDigest,
      timestamp,
      files,
      bytes,
      treeDepth: treeDepth(files),
      ...(parent && { parent }),
      ...(message && { message }),
      ...(author && { author }),
    },
    text: lines.map(([name, value]) => `${name.padEnd(13)} ${value}`),
    quiet: id,
  }
}
