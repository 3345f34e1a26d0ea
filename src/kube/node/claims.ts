import type { ClaimWishes, Claims } from '../../volumes/claims.ts'
import { getObject, patchObject } from '../client/objects.ts'
import { CLAIMS } from '../resources/core.ts'
import { labelName } from '../resources/names.ts'
import type { NodeContext } from './node-context.ts'

const LABEL = 'stratum.dev/label'
const FROM = 'stratum.dev/from'
const NOTHING: ClaimWishes = { uid: undefined, label: undefined, from: undefined }

/** The annotations of PersistentVolumeClaims: external-provisioner passes on only their names. */
export function createClaims({ server, home }: NodeContext): Claims {
  return {
    async read(claim, signal) {
      const object = await getObject(server, CLAIMS, claim, { signal })
      if (object === undefined) return NOTHING
      const { uid, annotations = {} } = object.metadata
      return { uid, label: annotations[LABEL], from: annotations[FROM] }
    },
    async tellLabel(claim, label, signal) {
      const short = labelName(label, home)?.label
      if (short === undefined) return
      await patchObject(server, CLAIMS, claim, { metadata: { annotations: { [LABEL]: short } } }, { signal })
    },
  }
}
