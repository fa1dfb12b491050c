/** A million packets against the flow programs (SERVAL_FUZZ_PACKETS, SERVAL_FUZZ_SEED). Needs root. */
import { afterAll, expect, it } from '@jest/globals';
import { emptyClasses, fuzz, fuzzOptions, fuzzSummary } from './fuzz.js';
import { Harness } from './harness.js';

const harness = await Harness.open();

afterAll(() => {
  harness.dispose();
});

it('each packet comes out untouched, translated whole, or dropped and counted once', () => {
  const report = fuzz(harness, fuzzOptions());
  process.stderr.write(`${fuzzSummary(report)}\n`);
  expect(report.failures).toEqual([]);
  expect(emptyClasses(report)).toEqual([]);
}, 600_000);
