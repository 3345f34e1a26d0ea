import { createInterface } from 'node:readline'
import { parseReference } from '../../src/names/reference.ts'
import { mountReference } from '../../src/repository/mount.ts'
import { openStore } from '../../src/store/open-store.ts'

/** Mounts a tag at each path that comes: `mounter.ts <store> <label:tag>`; answers whether it did, or why not. */
const [root, tag] = process.argv.slice(2)
const context = { store: openStore(root), actor: 'mounter' }
console.log('ready')
for await (const mountpoint of createInterface(process.stdin)) {
  const request = { reference: parseReference(tag), mountpoint, readOnly: true, allowSuidAndDevices: false, uid: 0 }
  console.log(
    await mountReference(context, request).then(
      () => 'mounted',
      ({ code }) => code,
    ),
  )
}
