import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import crypto from 'node:crypto'
import path from 'node:path'
import { test } from 'node:test'
import { createLab } from '../support/lab.ts'

const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')
const lab = await createLab({ large: crypto.randomBytes(600_000).toString('latin1'), small: 'x' })
const reference = `app:${await lab.import(path.join(lab.folder, 'base'))}`

/** Runs a line of bash in which `stratum` is the command line; the exit status is that of the first command of the pipe. */
function bash(line: string): { status: number | null; stderr: string } {
  const script = `${line.replaceAll('stratum', BINARY)}; exit "\${PIPESTATUS[0]}"`
  const env = { ...process.env, STRATUM_STORE: path.join(lab.folder, 'store') }
  const { status, stderr } = spawnSync('bash', ['-c', script], { env })
  return { status, stderr: stderr.toString() }
}

test('an archive of which nobody reads the rest is no success; one that is read is', () => {
  assert.equal(bash(`stratum export ${reference} - --format tar | head -c 10`).status, 1)
  assert.equal(bash(`stratum export ${reference} - --format tar | cat > /dev/null`).status, 0)
})

test('a list of which nobody reads the rest is no error', () => {
  assert.equal(bash('stratum list app | true').status, 0)
})

test('a full disk behind stdout is an error with its exit status, and no stack trace', () => {
  for (const command of ['list app', `cat ${reference} large`, `export ${reference} - --format tar`]) {
    const { status, stderr } = bash(`stratum ${command} > /dev/full`)
    assert.equal(status, 13, command)
    assert.match(stderr, /^error: writing to stdout: no space left/)
    assert.doesNotMatch(stderr, /node:/)
  }
})
