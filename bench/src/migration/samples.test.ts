import { describe, expect, it } from '@jest/globals';
import {
  longestBeyondFreeze,
  longestStandstill,
  newcomerMs,
  recoveryMs,
  type Progressed,
} from './samples.js';

/** Samples each 2 ms from 0 to 2,000; `rate` tells the bytes per ms at a time. */
function samples(rate: (at: number) => number): Progressed[] {
  const all: Progressed[] = [];
  let bytes = 0;
  for (let at = 0; at <= 2000; at += 2) all.push({ at, bytes: (bytes += 2 * rate(at)) });
  return all;
}

describe('what samples say about a move', () => {
  const freeze = { frozenAt: 1100, resumedAt: 1400 };

  it('finds the longest standstill', () => {
    const steps = [0, 10, 20, 20, 20, 30, 30].map((bytes, index) => ({ at: index * 5, bytes }));
    expect(longestStandstill(steps, 0)).toBe(15);
    expect(longestStandstill(steps, 20)).toBe(5);
    expect(longestStandstill([], 0)).toBe(0);
    // One that is not over yet counts up to now.
    expect(longestStandstill([...steps, { at: 90, bytes: 30 }], 0)).toBe(65);
  });

  it('finds when a flow is back at its rate', () => {
    const back = (at: number): number => (at <= 1100 ? 100 : at <= 1400 ? 0 : at <= 1470 ? 40 : 100);
    expect(recoveryMs(samples(back), freeze)).toBeGreaterThan(50);
    expect(recoveryMs(samples(back), freeze)).toBeLessThanOrEqual(70);
    expect(
      recoveryMs(
        samples((at) => (at > 1100 && at <= 1400 ? 0 : 100)),
        freeze,
      ),
    ).toBe(0);
    expect(
      recoveryMs(
        samples((at) => (at <= 1100 ? 100 : 80)),
        freeze,
      ),
    ).toBe(Infinity);
  });

  it('takes the freeze out of a wait', () => {
    const waits = [
      { begun: 1000, ended: 1003 },
      { begun: 1090, ended: 1404 },
      { begun: 1390, ended: 1397 },
      { begun: 1395, ended: 1407 },
    ];
    expect(longestBeyondFreeze(waits, freeze)).toBe(14);
    expect(longestBeyondFreeze(waits.slice(3), freeze)).toBe(7);
    expect(longestBeyondFreeze([], freeze)).toBe(0);
  });

  it('counts newcomers from the switch', () => {
    const times = { frozenAt: 1100, resumedAt: 1400, switchedAt: 1402 };
    const waits = [
      { begun: 1000, ended: 1001 },
      { begun: 1200, ended: 1409 },
      { begun: 1401, ended: 1490 },
    ];
    expect(newcomerMs(waits, times)).toBe(7);
    expect(newcomerMs(waits.slice(0, 1), times)).toBeUndefined();
    expect(newcomerMs([{ begun: 1200, ended: 1399 }], times)).toBe(0);
    expect(newcomerMs([{ begun: 1200, ended: Infinity }], times)).toBe(Infinity);
  });
});
