/** The table cases of the flow programs on this kernel. Needs root. */
import { afterAll, describe, expect, it } from '@jest/globals';
import { dropReasons } from '../datapath/reasons.js';
import { coveredReasons } from './case.js';
import { allCases } from './cases/index.js';
import { Harness } from './harness.js';
import { runCase } from './runner.js';

const harness = await Harness.open();

afterAll(() => {
  harness.dispose();
});

for (const { variant, lacks } of harness.variants()) {
  describe(variant.name, () => {
    if (lacks !== undefined)
      it(`can't run here: ${lacks}`, () => {
        expect(harness.variants().find((other) => other.variant.name === variant.name)?.lacks).toBe(lacks);
      });
    else
      it.each(allCases.map((one) => [one.name, one] as const))('%s', (_, one) =>
        expect(runCase(harness, variant, one)).toEqual([]),
      );
  });
}

describe('the tables', () => {
  it('provoke every drop reason', () => {
    expect([...coveredReasons(allCases)].sort()).toEqual([...dropReasons].sort());
  });

  it('name each case once', () => {
    expect(new Set(allCases.map(({ name }) => name)).size).toBe(allCases.length);
  });
});
