import assert from "node:assert/strict";

/** Where the first difference is, and how many there are: a diff of 20,000 numbers tells nobody anything. */
export function assertSameChoices(found: readonly number[], wanted: readonly number[], whose: string): void {
  const differences = wanted.flatMap((choice, frame) => (choice === found[frame] ? [] : [frame]));
  const [first] = differences;
  assert.equal(found.length, wanted.length);
  assert.equal(
    differences.length,
    0,
    first === undefined ? "" : `frame ${first} went to ${found[first]}, ${whose} ${wanted[first]}`,
  );
}
