import { execFileSync } from 'node:child_process'
import path from 'node:path'

export const SCHEMA = path.resolve(import.meta.dirname, '../../docs/schema/cli-1.json')
const PROGRAM = path.join(import.meta.dirname, 'validate.py')

/** An object that a command printed, and the name of the shape in docs/schema/cli-1.json that it is said to have. */
export interface Printed {
  readonly name: string
  readonly shape: string
  readonly object: unknown
}

/** What is wrong with the objects, and which shapes of the schema none of them was meant to have. */
export function validate(printed: readonly Printed[]): { problems: string[]; unused: string[] } {
  const input = printed.map(each => `${JSON.stringify(each)}\n`).join('')
  return JSON.parse(execFileSync('python3', [PROGRAM, SCHEMA], { input, encoding: 'utf8' }))
}
