import type Crypto from 'node:crypto'

/** A SHA-256 value as 32 latin1 characters, which Node calls `binary` and hands out five times faster than buffers. */
export type Hash = string
export const HASH_BYTES = 32

/** Loaded with the first hash: it takes 5 ms, a twentieth of a mount, which needs none. */
let crypto: typeof Crypto | undefined

export function sha256(bytes: Uint8Array): Hash {
  crypto ??= process.getBuiltinModule('node:crypto')
  return crypto.hash('sha256', bytes, 'binary')
}

export function hexOf(hash: Hash): string {
  return Buffer.from(hash, 'latin1').toString('hex')
}

export function hashOfHex(hex: string): Hash {
  return Buffer.from(hex, 'hex').toString('latin1')
}
