import { describe, expect, it } from '@jest/globals';
import { medianRatio, overBase, percentiles, quantile, spread } from './statistics.js';

describe('statistics of rounds', () => {
  it('takes the middle and the extremes', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(spread([4, 1, 2, 3]).median).toBe(2.5);
    expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9);
    expect(() => spread([])).toThrow('no value');
  });

  it('tells percentiles of tries', () => {
    const values = Array.from({ length: 101 }, (_, i) => 100 - i);
    expect(percentiles(values, 1)).toEqual({ p50: 50, p99: 99, max: 100 });
    expect(percentiles([1.26], 1)).toEqual({ p50: 1.3, p99: 1.3, max: 1.3 });
    expect(percentiles([], 1).max).toBeNaN();
    expect(percentiles([1, 2, Infinity], 1)).toEqual({ p50: 2, p99: Infinity, max: Infinity });
  });

  it('compares with the base of the same round', () => {
    expect(medianRatio([2, 30, 1], [1, 10, 1])).toBe(2);
    expect(overBase([5, 15, 100], [1, 10, 90])).toEqual({ median: 5, min: 4, max: 10 });
  });
});
