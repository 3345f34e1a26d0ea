import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { parseLabel } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import { parseTag } from '../../src/names/tag.ts'
import { tagCommit } from '../../src/repository/tag.ts'
import { paths } from '../../src/store/layout.ts'
import { lockLabel, lockLabelIfAny, lockNewLabel } from '../../src/store/locks.ts'
import { createLab } from '../support/lab.ts'

const APP = parseLabel('app')

test('who waits for a label that is removed meanwhile is told so, and its folder is not made again', async () => {
  const { store } = await createLab({ file: 'file' })
  const holder = await lockLabel(store, APP)
  const waiting = [lockLabel(store, APP), lockLabelIfAny(store, APP)]
  await sleep(50)
  fs.rmSync(paths.label(store, APP), { recursive: true })
  holder.release()
  await assert.rejects(
    waiting[0],
    (error: Error) => isStratumError(error, 'not-found') && /no label app/.test(error.message),
  )
  assert.equal(await waiting[1], undefined)
  assert.deepEqual(fs.readdirSync(paths.refs(store)), [])
})

test('who waits for a label that may be new gets it when it is removed meanwhile', async () => {
  const { store } = await createLab({ file: 'file' })
  const holder = await lockLabel(store, APP)
  const waiting = lockNewLabel(store, APP)
  await sleep(50)
  fs.rmSync(paths.label(store, APP), { recursive: true })
  holder.release()
  using _lock = await waiting
  assert.deepEqual(fs.readdirSync(paths.label(store, APP)), ['lock'])
})

test('a command that names a label there is not leaves no folder of it', async () => {
  const { store, context } = await createLab({ file: 'file' })
  const request = { source: parseReference('typo:v1'), tag: parseTag('v2'), move: false, force: false }
  await assert.rejects(tagCommit(context, request), /there is no label typo/)
  assert.deepEqual(fs.readdirSync(paths.refs(store)), ['app'])
})
