import { describe, expect, it } from '@jest/globals';
import type { MapInfo } from '../../native.js';
import { MappedArray } from './mapped-array.js';

const memory = Buffer.alloc(100_000 * 8);
const asked: number[] = [];
const map = {
  info: () => ({ maxEntries: 100_000 }) as MapInfo,
  mapped: (elements = 100_000) => {
    asked.push(elements);
    return memory.subarray(0, elements * 8);
  },
};

describe('the memory of an array map', () => {
  it('is mapped as far as it is used, in steps, and never beyond its end', () => {
    const array = new MappedArray(map);
    expect(array.capacity).toBe(100_000);
    array.words[3] = 5;
    for (const elements of [10, 16_384, 16_385, 90_000, 90_001, 100_000]) array.reach(elements);
    expect(asked).toEqual([16_384, 20_480, 90_000, 100_000]);
    expect(array.words).toHaveLength(200_000);
    expect([array.words[3], array.bytes.readUInt32LE(12)]).toEqual([5, 5]);
  });
});
