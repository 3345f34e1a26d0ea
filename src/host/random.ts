import fs from 'node:fs'
import { check, libc } from './libc.ts'

/** Random names come from the kernel itself: node:crypto takes 5 ms to load, a twentieth of a mount. */
const getrandom = libc.func('long getrandom(void *buffer, size_t size, unsigned int flags)')

/** Up to 256 random bytes as hex digits, for names that nobody else has. */
export function randomHex(bytes: number): string {
  const buffer = Buffer.alloc(bytes)
  check(getrandom(buffer, bytes, 0), 'getrandom')
  return buffer.toString('hex')
}

/** A random UUID (version 4). */
export function randomUuid(): string {
  return fs.readFileSync('/proc/sys/kernel/random/uuid', 'latin1').trim()
}
