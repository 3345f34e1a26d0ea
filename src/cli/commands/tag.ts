import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { parseTag } from '../../names/tag.ts'
import { tagCommit } from '../../repository/tag.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly move: boolean
  readonly force: boolean
}

export const run: Command<Options> = async invocation => {
  const [source, name] = invocation.args
  const { move, force } = invocation.options
  const context = await openContext(invocation)
  const { label, tag, commit, from, removed } = await tagCommit(context, {
    source: parseReference(source),
    tag: parseTag(name),
    move,
    force,
  })
  const reference = `${label}:${tag}`
  const before = from === undefined ? 'new' : from === commit ? 'it was there already' : `was ${shortId(from)}`
  return {
    json: {
      label,
      tag,
      commit,
      ...(from === undefined ? {} : { from }),
      ...(removed === undefined ? {} : { removed }),
    },
    text: reference,
    quiet: reference,
    notes: [`${reference} is ${shortId(commit)} (${before})`],
  }
}
