import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { openCommitImage } from '../../src/commits/open-image.ts'
import { captureHead } from '../../src/heads/capture-head.ts'
import { writeThrough } from '../../src/heads/write-through.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import { parseReference } from '../../src/names/reference.ts'
import { fromUser } from '../../src/names/text.ts'
import { type ApplyResult, applyCommit } from '../../src/repository/apply.ts'
import { type Difference, eachDifference, viewChanged, viewImage } from '../../src/tree/diff.ts'
import { layerChanges } from '../../src/tree/layer-changes.ts'
import { createLab, LABEL, type Lab, writeFile } from '../support/lab.ts'

const FILES = { 'd/base': 'base '.repeat(100), 'd/other': 'other', same: 'same' }

/** Sets HEAD back to a commit through the mount; when it was captured and before anything is written, something else happens. */
async function writeBackWhile(lab: Lab, to: CommitId, happens: () => void): Promise<string[]> {
  let kept: string[] = []
  const options = { consistency: 'live', maxPauseMs: 5000, deadlineMs: 5000, freezers: undefined } as const
  const rest = { message: undefined, author: undefined, allowUnclean: false, signal: undefined }
  await captureHead(lab.store, LABEL, lab.record(), { ...options, ...rest }, async ({ scan }) => {
    happens()
    const base = openCommitImage(lab.store, lab.record().base)
    const target = viewImage(openCommitImage(lab.store, to))
    const differences: Difference[] = []
    eachDifference(
      viewChanged(base, layerChanges(base, scan).change),
      target,
      difference => void differences.push(difference),
    )
    kept = writeThrough(lab.store, fromUser(lab.head), { target, differences, scan })
  })
  return kept
}

async function apply(lab: Lab, to: CommitId): Promise<ApplyResult> {
  const reference = parseReference(`app:${to}`)
  return await applyCommit(lab.context, { reference, mountpoint: fromUser(lab.head), path: undefined, save: true })
}

/** So that HEAD is in use, and is written to instead of exchanged. */
function holdOpen(lab: Lab): Disposable {
  const file = fs.openSync(path.join(lab.head, 'same'), 'r')
  return { [Symbol.dispose]: () => fs.closeSync(file) }
}

test('what is written between the capture of HEAD and its setting back stays, and is named', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  const { base } = lab.record()
  const at = (name: string): string => path.join(lab.head, name)
  fs.writeFileSync(at('d/base'), 'early '.repeat(100))
  fs.writeFileSync(at('d/other'), 'early')
  fs.writeFileSync(at('new'), 'early')
  fs.writeFileSync(at('also new'), 'early')
  writeFile(at('folder/in it'), 'early')
  fs.rmSync(at('same'))
  const late = { 'd/base': 'late! '.repeat(100), new: 'late!', 'folder/late': 'late', same: 'back' }
  const kept = await writeBackWhile(lab, base, () => {
    for (const [name, text] of Object.entries(late)) fs.writeFileSync(at(name), text)
  })
  for (const [name, text] of Object.entries(late)) assert.equal(fs.readFileSync(at(name), 'utf8'), text)
  assert.deepEqual(kept, ['d/base', 'folder', 'new', 'same'])
  assert.equal(fs.readFileSync(at('d/other'), 'utf8'), 'other')
  assert.deepEqual(fs.readdirSync(lab.head).sort(), ['d', 'folder', 'new', 'same'])
  assert.deepEqual(fs.readdirSync(at('d')).sort(), ['base', 'other'])
  assert.deepEqual(fs.readdirSync(at('folder')), ['late'])
})

test('a HEAD in use in which files, directories and hard links became one another is set back and forth', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  using _open = holdOpen(lab)
  const { base } = lab.record()
  const at = (name: string): string => path.join(lab.head, name)
  fs.rmSync(at('d'), { recursive: true })
  fs.writeFileSync(at('d'), 'a file now')
  writeFile(at('x/y/z'), 'deep')
  fs.linkSync(at('x/y/z'), at('x/linked'))
  const { commit } = await lab.commit()
  const changed = commit.metadata.id
  for (const to of [base, changed, base, changed]) {
    const { how, kept } = await apply(lab, to)
    assert.deepEqual({ how, kept }, { how: 'written', kept: [] })
    assert.equal(await lab.import(lab.head, 'copy'), to)
  }
})

test('what is mounted inside HEAD is not written to when HEAD is set back', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  const { base } = lab.record()
  fs.writeFileSync(path.join(lab.head, 'd/base'), 'changed')
  fs.writeFileSync(path.join(lab.head, 'd/new'), 'new')
  execFileSync('mount', ['-t', 'tmpfs', 'stranger', path.join(lab.head, 'd')])
  for (const name of ['base', 'new']) fs.writeFileSync(path.join(lab.head, 'd', name), 'of a stranger')
  const { kept } = await apply(lab, base)
  assert.deepEqual(
    kept.filter(name => name.startsWith('d/')),
    ['d/base', 'd/new'],
  )
  for (const name of ['base', 'new'])
    assert.equal(fs.readFileSync(path.join(lab.head, 'd', name), 'utf8'), 'of a stranger')
})
