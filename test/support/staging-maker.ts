import { openStore } from '../../src/store/open-store.ts'
import { createStaging } from '../../src/store/staging.ts'

/** Makes and discards staging folders of a store without end. */
const store = openStore(process.argv[2])
for (;;) createStaging(store).discard()
