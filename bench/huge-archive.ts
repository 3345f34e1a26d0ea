import fs from 'node:fs'
import { createRandom } from '../test/support/random.ts'

const BLOCK = 512
const FILES_PER_DIRECTORY = 20
const DIRECTORIES_PER_PARENT = 100
const FLUSH_BYTES = 8 << 20
const FILE = '0'
const DIRECTORY = '5'

/**
 * Writes a tar archive of so many entries, each file with bytes of its own, none so small that it would lie in the image. A tree of that
 * size comes into a store far faster this way than by way of a directory. Returns the paths of the files.
 */
export function writeHugeArchive(path: string, entries: number): string[] {
  const random = createRandom(3)
  const files: string[] = []
  let pieces: Buffer[] = []
  let pending = 0
  const out = fs.openSync(path, 'w')
  const flush = (): void => {
    fs.writevSync(out, pieces)
    pieces = []
    pending = 0
  }
  const write = (...buffers: Buffer[]): void => {
    for (const buffer of buffers) {
      pieces.push(buffer)
      pending += buffer.length
    }
    if (pending > FLUSH_BYTES) flush()
  }
  const directories = Math.floor(entries / (FILES_PER_DIRECTORY + 1))
  for (let i = 0; i < directories; i++) {
    const parent = `d${Math.floor(i / DIRECTORIES_PER_PARENT)}`
    if (i % DIRECTORIES_PER_PARENT === 0) write(header(`${parent}/`, 0, DIRECTORY))
    const folder = `${parent}/e${i % DIRECTORIES_PER_PARENT}/`
    write(header(folder, 0, DIRECTORY))
    for (let j = 0; j < FILES_PER_DIRECTORY; j++) {
      const size = 100 + random.below(300)
      const content = Buffer.alloc(BLOCK)
      content.fill(`${i} ${j} `, 0, size)
      write(header(`${folder}file-${j}`, size, FILE), content)
      files.push(`${folder}file-${j}`)
    }
  }
  write(Buffer.alloc(2 * BLOCK))
  flush()
  fs.closeSync(out)
  return files
}

/** Of the ustar format. */
function header(name: string, size: number, type: typeof FILE | typeof DIRECTORY): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, digits: number): void =>
    void block.write(`${value.toString(8).padStart(digits, '0')}\0`, at)
  block.write(name)
  octal(type === FILE ? 0o644 : 0o755, 100, 7)
  octal(0, 108, 7)
  octal(0, 116, 7)
  octal(size, 124, 11)
  octal(1_700_000_000, 136, 11)
  block.write('        ', 148)
  block.write(type, 156)
  block.write('ustar\x0000', 257)
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  )
  return block
}
