import fs from 'node:fs'
import path from 'node:path'
import { createRandom, type Random } from '../test/support/random.ts'

/** A tree of the shape of /usr/share on a desktop: some 54,000 names, 600 MB, most files small, a few large. Always the same one. */
export interface TreeShape {
  readonly files: number
  readonly directories: number
  /** Bytes of the median file; sizes are spread log-normally around it. */
  readonly medianBytes: number
  readonly spread: number
}

export const LIKE_USR_SHARE: TreeShape = { files: 51_000, directories: 3_000, medianBytes: 2_300, spread: 1.75 }
const WORDS = 4096
const LARGEST_BYTES = 24 << 20

/** Writes the tree. */
export function buildTree(root: string, shape: TreeShape, seed = 1): void {
  fs.rmSync(root, { recursive: true, force: true })
  const random = createRandom(seed)
  const directories = buildDirectories(root, shape.directories, random)
  const text = textOf(random)
  for (let i = 0; i < shape.files; i++) {
    const size = Math.min(LARGEST_BYTES, Math.round(shape.medianBytes * Math.exp(shape.spread * normal(random))))
    fs.writeFileSync(path.join(random.pick(directories), `file-${i}`), contentOf(text, size, i, random))
  }
}

/** Writes a directory of large files. */
export function buildLargeFiles(root: string, { files, bytes }: { files: number; bytes: number }, seed = 1): void {
  fs.mkdirSync(root, { recursive: true })
  const random = createRandom(seed)
  const text = textOf(random)
  for (let i = 0; i < files; i++) fs.writeFileSync(path.join(root, `file-${i}`), contentOf(text, bytes, i, random))
}

function buildDirectories(root: string, count: number, random: Random): string[] {
  const directories = [root]
  fs.mkdirSync(root, { recursive: true })
  for (let i = 0; i < count; i++) {
    const directory = path.join(random.pick(directories.slice(-200)), `dir-${i}`)
    fs.mkdirSync(directory)
    directories.push(directory)
  }
  return directories
}

/** Text that compresses about as well as documentation does. */
function textOf(random: Random): Buffer {
  const words = Array.from({ length: WORDS }, () =>
    Array.from({ length: 2 + random.below(9) }, () => String.fromCharCode(97 + random.below(26))).join(''),
  )
  return Buffer.from(Array.from({ length: 1 << 20 }, () => random.pick(words)).join(' '))
}

function contentOf(text: Buffer, size: number, number: number, random: Random): Buffer {
  const content = Buffer.alloc(size)
  const head = Buffer.from(`${number} ${random.below(2 ** 31)}\n`)
  for (let at = 0; at < size; ) {
    const from = random.below(text.length - 1)
    at += text.copy(content, at, from, Math.min(text.length, from + 65_536))
  }
  head.copy(content)
  return content
}

/** Box and Muller. */
function normal(random: Random): number {
  return (
    Math.sqrt(-2 * Math.log(1 - random.below(2 ** 30) / 2 ** 30)) *
    Math.cos(2 * Math.PI * (random.below(2 ** 30) / 2 ** 30))
  )
}

/**
 * Changes one in a hundred files: half rewritten, a quarter appended to, the rest removed and made anew. The same files get the same
 * changes in every copy of a tree. Returns the paths of what was written, from the root.
 */
export function changeOnePercent(root: string, seed: number): Set<string> {
  const files = listFiles(root)
  return changeFiles(root, files, { count: Math.round(files.length / 100), seed })
}

/** All regular files below, sorted: listings of copies differ in order. */
export function listFiles(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(({ parentPath, name }) => path.relative(root, path.join(parentPath, name)))
    .sort()
}

export function changeFiles(
  root: string,
  files: readonly string[],
  { count, seed }: { count: number; seed: number },
): Set<string> {
  const random = createRandom(seed)
  const written = new Set<string>()
  for (let i = 0; i < count; i++) {
    const name = random.pick(files)
    const kind = random.below(4)
    const content = random.bytes(2000 + random.below(4000))
    const file = path.join(root, name)
    if (!fs.existsSync(file)) continue
    written.add(kind === 3 ? `${name}-${seed}` : name)
    if (kind < 2) fs.writeFileSync(file, content, 'latin1')
    else if (kind === 2) fs.appendFileSync(file, `round ${seed}\n`)
    else {
      fs.rmSync(file)
      written.delete(name)
      fs.writeFileSync(`${file}-${seed}`, content, 'latin1')
    }
  }
  return written
}
