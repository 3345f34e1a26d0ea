import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import type { ExpectedObject } from './check-content.ts'

/** A list of objects with the size that each should have. */
export interface ExpectedObjects {
  readonly table: DigestTable
  readonly sizes: readonly number[]
  add(digest: string, size: number): void
  all(): Generator<ExpectedObject>
}

export function createExpectedObjects(): ExpectedObjects {
  const table = createDigestTable()
  const sizes: number[] = []
  return {
    table,
    sizes,
    add(digest, size) {
      sizes[table.addDigest(digest)] = size
    },
    *all() {
      for (let number = 0; number < table.size; number++) yield { digest: table.digest(number), size: sizes[number] }
    },
  }
}
