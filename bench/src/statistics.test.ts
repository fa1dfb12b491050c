import { describe, expect, it } from '@jest/globals';
import { medianRatio, overBase, quantile, spread } from './statistics.js';

describe('statistics of rounds', () => {
  it('takes the middle and the extremes', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(spread([4, 1, 2, 3]).median).toBe(2.5);
    expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9);
    expect(() => spread([])).toThrow('no value');
  });

  it('compares with the base of the same round', () => {
    expect(medianRatio([2, 30, 1], [1, 10, 1])).toBe(2);
    expect(overBase([5, 15, 100], [1, 10, 90])).toEqual({ median: 5, min: 4, max: 10 });
  });
});
