import { type ExportFormat, formatNames, formatOfName, FORMATS } from '../../archives/formats.ts'
import { StratumError } from '../../errors/stratum-error.ts'
import { parseReference } from '../../names/reference.ts'
import { shortId } from '../../names/commit-id.ts'
import { toUser } from '../../names/text.ts'
import { exportCommit } from '../../repository/export.ts'
import { count, formatBytes } from '../format.ts'
import { absolute, type Command, openContext } from '../invocation.ts'

interface Options {
  readonly format?: string
  readonly force: boolean
}

const STDOUT = '-'
const PARTIAL = 3
const CUT_OFF = 1

export const run: Command<Options> = async invocation => {
  const { args, options } = invocation
  const [source, file] = args
  const format = formatOf(file, options.format)
  const toStdout = file === STDOUT
  if (toStdout) checkStdout(options.json)
  if (toStdout) process.exitCode = CUT_OFF // until all is written: half an archive is no success, also where nobody reads the rest
  const context = await openContext(invocation)
  const target = toStdout ? writeOut : absolute(file)
  const result = await exportCommit(context, {
    reference: parseReference(source),
    target,
    format,
    force: options.force,
  })
  const { resolved, metadata, written, leftOut } = result
  const reference = `${resolved.label}:${resolved.id}`
  const where = toStdout ? 'stdout' : file
  const tag = resolved.tag ?? shortId(resolved.id)
  return {
    json: {
      label: resolved.label,
      commit: resolved.id,
      ...(resolved.tag === undefined ? {} : { tag: resolved.tag }),
      file,
      format,
      bytes: written,
      leftOut: leftOut.map(toUser),
    },
    ...(toStdout ? {} : { text: reference, quiet: reference }),
    notes: [
      format === 'cfs'
        ? `${where}: the image of ${resolved.label}:${tag}, ${formatBytes(written)}. It names the files; their bytes, the objects, are not in it`
        : `${where}: ${count(metadata.files - leftOut.length, 'file')}, ${formatBytes(written)}`,
    ],
    warnings: leftOut.map(path => `${toUser(path)} is a socket, which ${format} cannot hold: it was left out`),
    exitCode: leftOut.length > 0 ? PARTIAL : 0,
  }
}

function formatOf(file: string, option: string | undefined): ExportFormat {
  const format = option === undefined ? formatOfName(file) : formatNames.find(name => name === option)
  if (format !== undefined) return format
  if (option !== undefined)
    throw new StratumError('usage', `${JSON.stringify(option)} is no format`, {
      hint: `--format ${formatNames.join(', ')}`,
    })
  throw new StratumError(
    'usage',
    file === STDOUT ? 'stdout has no name that tells the format' : `the name ${file} tells no format`,
    {
      hint: `End it with ${Object.values(FORMATS)
        .map(([ending]) => ending)
        .join(', ')}, or add --format`,
    },
  )
}

function checkStdout(json: boolean): void {
  if (json) throw new StratumError('usage', '--json and the archive cannot both go to stdout')
  if (process.stdout.isTTY === true) throw new StratumError('usage', 'an archive is not written to a terminal')
}

function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(bytes, error => (error ? reject(error) : resolve())))
}
