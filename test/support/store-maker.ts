import { createInterface } from 'node:readline'
import { openStore } from '../../src/store/open-store.ts'

/** Opens, or makes, a store at each path that comes; answers with its id. */
console.log('ready')
for await (const path of createInterface(process.stdin)) console.log(openStore(path, { create: true }).id)
