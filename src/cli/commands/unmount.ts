import { toUser } from '../../names/text.ts'
import { unmountTarget } from '../../repository/unmount.ts'
import { absolute, type Command, openContext } from '../invocation.ts'

export const run: Command = async invocation => {
  const [what] = invocation.args
  const context = await openContext(invocation)
  const { label, mountpoints } = await unmountTarget(context, /^[./]/.test(what) ? absolute(what) : what)
  const shown = mountpoints.map(toUser)
  return { json: { label, mountpoints: shown }, notes: shown.map(mountpoint => `unmounted ${mountpoint}`) }
}
