import { describe, expect, it } from '@jest/globals';
import { Backoff } from './backoff.js';

describe('Backoff', () => {
  const waits = (random: () => number, count = 6): number[] => {
    const backoff = new Backoff({ firstMs: 100, mostMs: 1_000, random });
    return Array.from({ length: count }, () => Math.round(backoff.next()));
  };

  it('doubles what it may wait, up to a limit', () => {
    expect(waits(() => 0.999_999)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('never waits for less than a tenth of that', () => {
    expect(waits(() => 0)).toEqual([10, 20, 40, 80, 100, 100]);
  });

  it('begins anew when it went well', () => {
    const backoff = new Backoff({ firstMs: 100, mostMs: 1_000, random: () => 0.999_999 });
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(Math.round(backoff.next())).toBe(100);
  });
});
