import { parseReference } from '../../names/reference.ts'
import { fromUser } from '../../names/text.ts'
import { readFileOf } from '../../repository/cat.ts'
import { type Command, openContext } from '../invocation.ts'

/** Writes the bytes of a file to stdout as they are; with `--json`, only how many they are. */
export const run: Command = async invocation => {
  const [reference, path] = invocation.args
  const context = await openContext(invocation)
  let bytes = 0
  for await (const piece of readFileOf(context, parseReference(reference), fromUser(path))) {
    bytes += piece.length
    if (!invocation.options.json) await write(piece)
  }
  return { json: { path, bytes } }
}

function write(piece: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(piece, error => (error ? reject(error) : resolve())))
}
