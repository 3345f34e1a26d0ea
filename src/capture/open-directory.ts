import { close } from '../host/descriptors.ts'

/** A directory that stays open for as long as somebody reads files of it. */
export interface OpenDirectory {
  readonly fd: number
  hold(): void
  release(): void
}

/** Takes over a descriptor; its maker is the first to hold it. */
export function holdDirectory(fd: number): OpenDirectory {
  let users = 1
  return {
    fd,
    hold: () => void users++,
    release() {
      if (--users === 0) close(fd)
    },
  }
}
