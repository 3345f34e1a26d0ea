import { freezeWriters } from '../../src/heads/freeze.ts'
import type { Freezer } from '../../src/host/cgroup.ts'
import type { Label } from '../../src/names/label.ts'
import { openStore } from '../../src/store/open-store.ts'

/** Stops a group for a commit of a label and is killed: `freeze-and-die.ts <store> <label> <version> <group> <milliseconds>`. */
const [store, label, version, group, limit] = process.argv.slice(2)
const freezer: Freezer = { version: version === '1' ? 1 : 2, path: group }
freezeWriters(openStore(store), label as Label, { freezers: [freezer] }, Number(limit))
process.kill(process.pid, 'SIGKILL')
