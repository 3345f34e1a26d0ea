import { parseReference } from '../../src/names/reference.ts'
import { parseTag } from '../../src/names/tag.ts'
import { tagCommit } from '../../src/repository/tag.ts'
import { openStore } from '../../src/store/open-store.ts'

/** Renames `app:v1` to `app:v2`, and back, without end. */
const context = { store: openStore(process.argv[2]), actor: 'renamer' }
for (let [from, to] = ['v1', 'v2']; ; [from, to] = [to, from])
  await tagCommit(context, { source: parseReference(`app:${from}`), tag: parseTag(to), move: true, force: false })
