import fs from 'node:fs'
import path from 'node:path'

/** Control groups, version 1 (a folder in each hierarchy) and 2. They are not in any namespace, so they are made and removed by name. */
const ROOT = '/sys/fs/cgroup'

/** Every hierarchy in which groups can be made: of version 1 each controller's, of version 2 the one. */
function hierarchies(): string[] {
  if (fs.existsSync(path.join(ROOT, 'cgroup.controllers'))) return [ROOT]
  return fs
    .readdirSync(ROOT, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && fs.existsSync(path.join(ROOT, entry.name, 'cgroup.procs')))
    .map(entry => path.join(ROOT, entry.name))
}

/** A group of version 1 of cpuset accepts nobody until it has processors and memory. */
export function makeControlGroup(name: string): void {
  for (const hierarchy of hierarchies()) {
    fs.mkdirSync(path.join(hierarchy, name), { recursive: true })
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const own = path.join(hierarchy, name, file)
      if (fs.existsSync(own) && fs.readFileSync(own, 'utf8').trim() === '') {
        fs.writeFileSync(own, fs.readFileSync(path.join(hierarchy, file)))
      }
    }
  }
}

/** Every process in the groups whose name begins so runs again: of version 1, a frozen process does not even die. */
export function thawControlGroups(prefix: string): void {
  for (const group of groupsOf(prefix)) {
    for (const [file, word] of [
      ['freezer.state', 'THAWED'],
      ['cgroup.freeze', '0'],
    ]) {
      const switchFile = path.join(group, file)
      if (fs.existsSync(switchFile)) fs.writeFileSync(switchFile, word)
    }
  }
}

/** Removes the groups whose name begins so. Those that somebody is still in stay; gives how many. */
export function removeControlGroups(prefix: string): number {
  let busy = 0
  for (const group of groupsOf(prefix)) {
    try {
      fs.rmdirSync(group)
    } catch {
      busy++
    }
  }
  return busy
}

/** The groups whose name begins so and everything below them, inner ones first. */
function groupsOf(prefix: string): string[] {
  const roots = hierarchies().flatMap(hierarchy =>
    fs
      .readdirSync(hierarchy)
      .filter(name => name.startsWith(prefix))
      .map(name => path.join(hierarchy, name)),
  )
  return roots.flatMap(withInner)
}

function withInner(group: string): string[] {
  const inner = fs.readdirSync(group, { withFileTypes: true }).filter(entry => entry.isDirectory())
  return [...inner.flatMap(entry => withInner(path.join(group, entry.name))), group]
}
