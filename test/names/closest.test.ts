import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closest } from '../../src/names/closest.ts'

test('of names the one with the fewest letters changed is meant, if they are few', () => {
  const names = ['myapp', 'web', 'team-a/web', 'models/llama_3.1', 'saves']
  assert.equal(closest('myap', names), 'myapp')
  assert.equal(closest('maypp', names), 'myapp')
  assert.equal(closest('wbe', names), 'web')
  assert.equal(closest('team-b/web', names), 'team-a/web')
  assert.equal(closest('models/lama_3.1', names), 'models/llama_3.1')
  assert.equal(closest('saves', names), 'saves')
  for (const foreign of ['database', 'x', '', 'team']) assert.equal(closest(foreign, names), undefined, foreign)
  assert.equal(closest('anything', []), undefined)
})
