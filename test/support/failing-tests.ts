/** What the spec reporter says at its end of the tests that failed; all of the output, if the file did not get that far. */
export function failingTests(output: string): string {
  const at = output.lastIndexOf('✖ failing tests:')
  return at < 0 ? output : output.slice(at)
}
