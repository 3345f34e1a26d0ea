import fs from 'node:fs'
import path from 'node:path'
import { execa } from 'execa'
import { CACHE, once, say } from './cache.ts'
import { KUBERNETES, type Module, programFolder, programPath, SIDECARS } from './programs.ts'

/** Downloads fail now and then; what was downloaded and compiled stays, so that trying again is cheap. */
const ATTEMPTS = 3
/** Whatever else runs gets the processor first. */
const NICE = ['nice', '-n', '10']

/** Builds the programs of a module that are missing, in one go, so that what they share is compiled once. */
export async function buildPrograms(module: Module): Promise<void> {
  const missing = Object.keys(module.programs).filter(name => !fs.existsSync(programPath(module, name)))
  if (missing.length === 0) return
  say(`building ${missing.join(', ')} (${module.source}); minutes where nothing is compiled yet`)
  const started = performance.now()
  const folder = programFolder(module)
  fs.mkdirSync(folder, { recursive: true })
  const unfinished = fs.mkdtempSync(`${folder}/unfinished-`)
  const programs = missing.map(name => module.programs[name])
  for (const program of programs.filter(it => it.isTest === true)) {
    await goBuild(module, ['test', '-c', '-vet=off'], ['-o', `${unfinished}/`, program.package])
  }
  const packages = programs.filter(it => it.isTest !== true).map(it => it.package)
  if (packages.length > 0) await goBuild(module, ['build'], ['-o', `${unfinished}/`, ...packages])
  for (const name of missing) {
    fs.renameSync(path.join(unfinished, module.programs[name].builtAs ?? name), path.join(folder, name))
  }
  fs.rmdirSync(unfinished)
  say(`built in ${((performance.now() - started) / 1000).toFixed(0)} s`)
}

async function goBuild(module: Module, command: readonly string[], args: readonly string[]): Promise<void> {
  const build = [...NICE, 'go', ...command, '-trimpath', '-buildvcs=false', '-mod=readonly']
  for (let attempt = 1; ; attempt++) {
    const { failed, stderr } = await execa(
      'flock', // one at a time on one machine: two would compile everything twice
      [path.join(CACHE, 'build.lock'), ...build, '-ldflags', module.linkerFlags, ...args],
      { cwd: module.source, env: { CGO_ENABLED: '0', GOWORK: 'off' }, reject: false },
    )
    if (!failed) return
    if (attempt === ATTEMPTS) throw new Error(`building ${module.name} failed:\n${stderr.slice(-4000)}`)
    say(`  failed, trying again: ${stderr.trim().split('\n').at(-1)}`)
  }
}

/** The definitions of VolumeSnapshots, which are published beside the snapshot-controller. */
export async function snapshotDefinitions(): Promise<string> {
  return once(programPath(SIDECARS, 'snapshot-definitions'), async target => {
    const { stdout } = await execa(
      'go',
      ['list', '-m', '-f', '{{.Dir}}', 'github.com/kubernetes-csi/external-snapshotter/client/v8'],
      { cwd: SIDECARS.source, env: { GOWORK: 'off' } },
    )
    fs.cpSync(path.join(stdout, 'config/crd'), target, { recursive: true })
  })
}

export async function buildEverything(): Promise<void> {
  await buildPrograms(KUBERNETES)
  await buildPrograms(SIDECARS)
  await snapshotDefinitions()
}

if (import.meta.main) {
  await buildEverything()
  for (const module of [KUBERNETES, SIDECARS]) console.log(programFolder(module))
}
