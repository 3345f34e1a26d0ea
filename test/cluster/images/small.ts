import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { PAUSE_IMAGE } from '../machine/node-config.ts'
import { run } from '../machine/run.ts'
import { programPath, SIDECARS } from '../programs/programs.ts'
import { imageFromFiles } from './buildah.ts'

/** What the tests' pods run, under the name that the examples in deploy/ use. */
export const BUSYBOX_IMAGE = 'docker.io/library/busybox:1.37'
const BUSYBOX = '/bin/busybox'

/** The sidecars' images are named as the chart's values name them by default, with another registry. */
export const SIDECAR_TAG = 'test'
export function sidecarImage(name: string): string {
  return `localhost/${name}:${SIDECAR_TAG}`
}

/** The images that are made of one static program each. */
export async function smallImages(): Promise<string[]> {
  const images = [await busyboxImage(BUSYBOX_IMAGE, {}, ['CMD ["sh"]']), await pauseImage()]
  for (const name of Object.keys(SIDECARS.programs)) {
    const program = programPath(SIDECARS, name)
    const files = { [`/${name}`]: program }
    const lines = [`ENTRYPOINT ["/${name}"]`]
    images.push(await imageFromFiles(sidecarImage(name), { files, lines, madeFrom: [program] }))
  }
  return images
}

function pauseImage(): Promise<string> {
  return imageFromFiles(PAUSE_IMAGE, {
    files: { '/bin/busybox': BUSYBOX },
    lines: ['ENTRYPOINT ["/bin/busybox", "sleep", "infinity"]'],
    madeFrom: [fs.readFileSync(BUSYBOX)],
  })
}

/** busybox with a link for each of its applets; `more` files and lines of the Containerfile make other images of it. */
export async function busyboxImage(
  name: string,
  more: Readonly<Record<string, string>>,
  lines: readonly string[],
): Promise<string> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'busybox-'))
  try {
    for (const folder of ['bin', 'tmp', 'etc']) fs.mkdirSync(path.join(root, folder))
    fs.chmodSync(path.join(root, 'tmp'), 0o1777)
    fs.writeFileSync(path.join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n')
    fs.copyFileSync(BUSYBOX, path.join(root, 'bin/busybox'))
    for (const applet of (await run(BUSYBOX, ['--list'])).split('\n')) {
      if (applet !== 'busybox') fs.symlinkSync('busybox', path.join(root, 'bin', applet))
    }
    const parts = Object.fromEntries(['bin', 'tmp', 'etc'].map(folder => [`/${folder}/`, path.join(root, folder)]))
    return await imageFromFiles(name, {
      files: { ...parts, ...more },
      lines: ['ENV PATH=/bin', ...lines],
      madeFrom: [fs.readFileSync(BUSYBOX), ...Object.values(more)],
    })
  } finally {
    fs.rmSync(root, { recursive: true })
  }
}
