/** The table cases of the flow programs on this kernel. Needs root. */
import { afterAll, describe, expect, it } from '@jest/globals';
import { dropReasons, serviceReasons } from '../datapath/reasons.js';
import { coveredReasons } from './case.js';
import { allCases } from './cases/index.js';
import { Harness, type Support } from './harness.js';
import { longCases, runLongCases } from './long-packets.js';
import { runCase } from './runner.js';

const harness = await Harness.open();
const [first] = harness.variants().filter(({ lacks }) => lacks === undefined);

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

it('packets that are too long for a test run, through a device', async () => {
  const results = await runLongCases(harness, (first as Support).variant);
  expect(Object.fromEntries(results)).toEqual(Object.fromEntries(longCases.map(({ name }) => [name, []])));
});

describe('the tables', () => {
  it('provoke every drop reason', () => {
    // These are given at connect() and to what sockets send: datapath/services/services.kernel.test.ts.
    expect([...coveredReasons(allCases, longCases), ...serviceReasons].sort()).toEqual(
      [...dropReasons].sort(),
    );
  });

  it('name each case once', () => {
    expect(new Set(allCases.map(({ name }) => name)).size).toBe(allCases.length);
  });
});
