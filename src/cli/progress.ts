import { formatBytes, formatCount } from './format.ts'
import type { Progress } from '../repository/context.ts'

/** Work that takes less time than this shows no progress. */
const QUIET_MS = 500
const INTERVAL_MS = 100

export interface ProgressLine {
  update(progress: Progress): void
  /** Takes the line away. */
  clear(): void
}

/** One line on a terminal that is written over and over. */
export function createProgressLine(stream: NodeJS.WriteStream): ProgressLine {
  const started = performance.now()
  let shown = false
  let next = started + QUIET_MS
  return {
    update({ stage, files, bytes }) {
      const now = performance.now()
      if (now < next) return
      next = now + INTERVAL_MS
      shown = true
      const rate = bytes / ((now - started) / 1000)
      const line = `${stage} ${formatCount(files)} files, ${formatBytes(bytes)}, ${formatBytes(rate)}/s`
      stream.write(`\r\x1b[K${line.slice(0, Math.max(20, (stream.columns || 80) - 1))}`)
    },
    clear() {
      if (shown) stream.write('\r\x1b[K')
      shown = false
    },
  }
}
