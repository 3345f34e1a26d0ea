import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { removeXattr, setXattr, xattrsOfPath } from '../../src/host/xattrs.ts'
import { createLab, type Lab, openLab } from '../support/lab.ts'

/** A store that was copied or restored: the kernel refuses its upperdirs, and it is nobody else's. */
const COPIES: readonly (readonly [string, string])[] = [
  ['cp -a', 'cp -a "$1/store" "$2"'],
  [
    'tar',
    `mkdir "$2/store" && tar -C "$1/store" --xattrs --xattrs-include='*' -c . | tar -C "$2/store" --xattrs --xattrs-include='*' -x`,
  ],
]

/** A label with changes of every kind in its HEAD, hard links of the base among them, mounted. */
async function createChanged(): Promise<Lab> {
  const lab = await createLab()
  const base = lab.makeFolder('base')
  for (const name of ['linked', 'meta', 'gone', 'kept']) fs.writeFileSync(path.join(base, name), `${name} `.repeat(50))
  fs.mkdirSync(path.join(base, 'd'))
  for (const name of ['d/linked2', 'd/linked3']) fs.linkSync(path.join(base, 'linked'), path.join(base, name))
  for (const name of ['d/meta2', 'd/meta3']) fs.linkSync(path.join(base, 'meta'), path.join(base, name))
  await lab.import(base)
  await lab.mount()
  const at = (name: string): string => path.join(lab.head, name)
  fs.appendFileSync(at('d/linked2'), 'through one name')
  fs.chmodSync(at('meta'), 0o600)
  fs.unlinkSync(at('gone'))
  fs.renameSync(at('d'), at('moved'))
  fs.writeFileSync(at('new'), 'new '.repeat(50))
  return lab
}

function copyOf(lab: Lab, command: string): Lab {
  const folder = lab.makeFolder('copy')
  execFileSync('sh', ['-c', command, 'sh', lab.folder, folder])
  return openLab(folder)
}

for (const [how, command] of COPIES) {
  test(`HEAD of a store that was copied with ${how} gets a new base of what it held`, async () => {
    const lab = await createChanged()
    const expected = await lab.import(lab.head, 'expected')
    await lab.unmount()
    const last = lab.record().lastCommit
    const copy = copyOf(lab, command)
    const { refreshed } = await copy.mount()
    assert.equal(refreshed?.base, expected)
    assert.deepEqual(refreshed.torn, [])
    assert.equal(await copy.import(copy.head, 'expected'), expected)
    assert.equal(copy.record().lastCommit, last, 'nothing was committed')
    fs.writeFileSync(path.join(copy.head, 'more'), 'written to the copy')
    assert.equal((await copy.commit()).remounted.how, 'swapped')
    assert.equal((await lab.mount()).refreshed, undefined, 'the original is as it was')
    assert.equal(fs.existsSync(path.join(lab.head, 'more')), false)
  })
}

test('the commands of a copy leave the mounts of the original alone', async () => {
  const lab = await createChanged()
  const expected = await lab.import(lab.head, 'expected')
  execFileSync('sync')
  const copy = copyOf(lab, COPIES[0][1])
  await assert.rejects(copy.unmount(), /"app" is not mounted/)
  const { commit, remounted } = await copy.commit({ consistency: 'idle', allowUnclean: true })
  assert.equal(remounted.how, 'folded')
  assert.equal(commit.metadata.id, expected)
  fs.writeFileSync(path.join(lab.head, 'later'), 'to the original')
  assert.deepEqual(fs.readdirSync(copy.paths.upper), [])
  assert.ok(fs.existsSync(path.join(lab.paths.upper, 'later')))
  await copy.mount()
  assert.equal(fs.existsSync(path.join(copy.head, 'later')), false)
})

test('hard links that a copy tore apart are named', async () => {
  const lab = await createChanged()
  await lab.unmount()
  const copy = copyOf(lab, 'cp -a --no-preserve=links "$1/store" "$2"')
  const { refreshed } = await copy.mount()
  assert.deepEqual([...(refreshed?.torn ?? [])].sort(), ['meta', 'moved/linked2'])
})

test('an upperdir whose xattrs were not copied is refused', async () => {
  const lab = await createChanged()
  await lab.unmount()
  const copy = copyOf(lab, 'cp -a --no-preserve=xattr "$1/store" "$2"')
  await assert.rejects(copy.mount(), /head\/ of app has no mark of ours/)
  await assert.rejects(copy.commit({ allowUnclean: true }), /head\/ of app has no mark of ours/)
})

const INO32_GEN = 1
const EROFS_64 = 0x81

/** A file handle as EROFS made it before Linux 6.16: the inode's number in 32 bits, and its generation. */
function asOlderKernel(handle: Buffer): Buffer {
  assert.equal(handle[4], EROFS_64, 'this kernel makes handles of the new form')
  const older = Buffer.alloc(29)
  handle.copy(older, 0, 0, 21)
  older[2] = older.length
  older[4] = INO32_GEN
  handle.copy(older, 21, 25, 29)
  return older
}

test('an upperdir that an older kernel wrote is read the same, and mounted over a new base', async () => {
  const lab = await createChanged()
  const expected = await lab.import(lab.head, 'expected')
  await lab.unmount()
  const index = path.join(lab.paths.work, 'index')
  let handles = 0
  for (const name of fs.readdirSync(index)) {
    const older = asOlderKernel(Buffer.from(name, 'hex')).toString('hex')
    fs.renameSync(path.join(index, name), path.join(index, older))
    handles++
  }
  const inodes = new Set<number>()
  for (const entry of fs.readdirSync(lab.paths.upper, { withFileTypes: true, recursive: true })) {
    const file = path.join(entry.parentPath, entry.name)
    const { ino } = fs.lstatSync(file)
    if (inodes.has(ino)) continue
    inodes.add(ino)
    for (const [name, value] of xattrsOfPath(file)) {
      if (name !== 'trusted.overlay.origin') continue
      removeXattr(file, name)
      setXattr(file, name, asOlderKernel(Buffer.from(value, 'latin1')).toString('latin1'))
      handles++
    }
  }
  assert.ok(handles >= 4)
  const copy = copyOf(lab, COPIES[0][1])
  const { commit, torn } = await lab.commit()
  assert.deepEqual(torn, [])
  assert.equal(commit.metadata.id, expected)
  const { refreshed } = await copy.mount()
  assert.equal(refreshed?.base, expected)
})
