import v8 from 'node:v8'
import vm from 'node:vm'
import { libc } from './libc.ts'

/** Memory of processes that run for weeks: what was needed once is given back. */
const mallopt = libc.func('int mallopt(int parameter, int value)')
const M_TRIM_THRESHOLD = -1
const M_MMAP_THRESHOLD = -3
const M_ARENA_MAX = -8
/** From this size on, each piece of memory is a mapping of its own, which goes when it is freed. */
const OWN_MAPPING_BYTES = 1 << 17
const TRIM_BYTES = 1 << 20
const ARENAS = 2

/** The space for new objects stays as it begins, 1 MiB: it would grow to a hundred under many small calls (bench/csi), and never shrink. */
const SMALL_NURSERY = '--semi-space-growth-factor=1'

/** How much the rest of the heap may grow between two collections, %: by itself V8 waits longer (docs/performance.md). */
const SLOW_GROWTH = '--heap-growing-percent=30'

/**
 * Keeps a daemon small. The C library would take ever larger pieces from its heap after the first was freed (it raises the limit to what it
 * saw, up to 32 MiB), fill them with zeros instead of getting them so, and keep the holes that they leave.
 */
export function keepMemorySmall(): void {
  v8.setFlagsFromString(SMALL_NURSERY)
  v8.setFlagsFromString(SLOW_GROWTH)
  mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES)
  mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
  mallopt(M_ARENA_MAX, ARENAS)
}

/** Long enough for an answer to go out first. */
const FREE_AFTER_MS = 200
let pending: NodeJS.Timeout | undefined

/**
 * Frees in a moment what nothing refers to: V8 does not count memory that threads share, would leave the rest until it wants some itself,
 * and keeps the pages of a heap that was large once (60 MiB after a commit of 54,000 entries). It takes some 40 ms.
 */
export function freeMemorySoon(): void {
  pending ??= setTimeout(() => {
    pending = undefined
    collectAll()
  }, FREE_AFTER_MS).unref()
}

/** So many small calls leave some ten MiB (bench/csi). */
const CALLS_WORTH_IT = 200
const QUIET_MS = 5_000
let calls = 0
let quiet: NodeJS.Timeout | undefined

/** To be told of each call of a daemon: what many of them left is freed when none has come for a while, or V8 would keep it for weeks. */
export function freeMemoryWhenQuiet(): void {
  if (++calls < CALLS_WORTH_IT) return
  quiet ??= setTimeout(() => {
    quiet = undefined
    calls = 0
    collectAll()
  }, QUIET_MS).unref()
  quiet.refresh()
}

type Collect = (options: { type: 'major'; flavor: 'last-resort' }) => void
let collect: Collect | undefined

/** As V8 does when it has no memory left: whatever is not needed goes back to the kernel. */
function collectAll(): void {
  if (collect === undefined) {
    v8.setFlagsFromString('--expose-gc')
    collect = vm.runInNewContext('gc') as Collect
  }
  collect({ type: 'major', flavor: 'last-resort' })
}
