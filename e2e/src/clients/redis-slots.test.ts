import { describe, expect, it } from '@jest/globals';
import { slotOf, slotRanges, tagFor } from './redis-slots.js';

describe("Redis Cluster's slots", () => {
  it('are those of its specification', () => {
    expect(slotOf('123456789')).toBe(0x31c3);
    expect(slotOf('{user1000}.following')).toBe(slotOf('user1000'));
    expect(slotOf('foo{}bar')).not.toBe(slotOf('bar'));
  });

  it('are shared out without a gap, and each share has its tag', () => {
    const ranges = slotRanges(3);
    expect(ranges).toEqual([
      [0, 5460],
      [5461, 10921],
      [10922, 16383],
    ]);
    for (const range of ranges) {
      const slot = slotOf(`{${tagFor(range)}}:key`);
      expect(slot).toBeGreaterThanOrEqual(range[0]);
      expect(slot).toBeLessThanOrEqual(range[1]);
    }
  });
});
