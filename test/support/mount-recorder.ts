import { recordMount } from '../../src/mounts/records.ts'

/** Notes mounts and takes the notes back, without end. */
const source = `stratum:team/app:v1@${'a'.repeat(64)}?store=${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}&at=1.2`
for (let number = 0; ; number++) {
  const takeBack = await recordMount(source, `/var/lib/kubelet/pods/${number}/volumes/kubernetes.io~csi/app/mount`)
  await takeBack()
}
