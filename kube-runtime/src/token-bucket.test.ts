import { describe, expect, it } from '@jest/globals';
import { TokenBucket } from './token-bucket.js';

describe('a token bucket', () => {
  it('gives a burst, then one at a time, and never more than a burst after a rest', () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
    const taken = (now: number): number => {
      let count = 0;
      while (bucket.take(now)) count++;
      return count;
    };
    expect(taken(0)).toBe(3);
    expect(taken(99)).toBe(0);
    expect(taken(100)).toBe(1);
    expect(taken(100_000)).toBe(3);
  });

  it('promises what is not there yet, each one after the other', () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 2 }, 0);
    expect([0, 0, 0, 0].map((now) => bucket.reserve(now))).toEqual([0, 0, 100, 200]);
    expect(bucket.take(200)).toBe(false);
    expect(bucket.reserve(200)).toBe(100);
  });
});
