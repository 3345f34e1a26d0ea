import assert from 'node:assert/strict'
import fs from 'node:fs'

/** Content that a file's name determines: whoever reads it knows whether it is right. Some are too small to be objects. */
export function namedContent(name: string): string {
  const number = Number(name.slice(1))
  return `${name}\n`.repeat(1 + number * 37)
}

/** Reads every file in a folder and judges it by its name; half-written ones have a dot before it. */
export function checkNamed(folder: string): void {
  for (const name of fs.readdirSync(folder))
    if (!name.startsWith('.'))
      assert.equal(fs.readFileSync(`${folder}/${name}`, 'utf8'), namedContent(name), `${folder}/${name}`)
}
