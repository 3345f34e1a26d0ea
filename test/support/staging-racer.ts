import fs from 'node:fs'
import { openStore } from '../../src/store/open-store.ts'
import { clearStaleStaging, createStaging } from '../../src/store/staging.ts'

/** Makes and clears staging folders for two seconds: `staging-racer.ts <store> make|clear`. */
const [root, role] = process.argv.slice(2)
const store = openStore(root)
let rounds = 0
for (const end = Date.now() + 2000; Date.now() < end; rounds++) {
  if (role === 'clear') {
    clearStaleStaging(store)
    continue
  }
  using staging = createStaging(store)
  fs.writeFileSync(`${staging.path}/file`, 'mine')
  if (fs.readFileSync(`${staging.path}/file`, 'utf8') !== 'mine') throw new Error('somebody took it')
}
console.log(rounds)
