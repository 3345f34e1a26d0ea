import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { CLI_PAGE, withReference } from '../../scripts/cli-reference.ts'
import { ERROR_TABLE } from '../../src/errors/table.ts'

const page = fs.readFileSync(CLI_PAGE, 'utf8')

/** The formatter pads tables. */
const unpadded = (text: string): string => text.replaceAll(/[ -]+/g, '')

test('docs/cli.md lists the commands as they are (npm run docs writes it)', () => {
  assert.equal(unpadded(page), unpadded(withReference(page)))
  assert.match(page, /### mount\n/)
})

test('docs/cli.md says what every exit status means', () => {
  for (const { exit } of Object.values(ERROR_TABLE)) assert.match(page, new RegExp(`^\\| ${exit} +\\| `, 'm'))
})
