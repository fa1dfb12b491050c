import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Regions } from './regions.js';

interface Part {
  start: number;
  length: number;
}

/** What somebody does who has parts: take one of a length, or give back the one at a place among those that he has. */
const steps = (longest: number) =>
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: longest }) }) },
      { weight: 2, arbitrary: fc.record({ give: fc.nat() }) },
    ),
    { maxLength: 200, size: 'max' },
  );

/** Throws where a part overlaps another one, or the end. */
function requireApart(parts: readonly Part[], capacity: number): void {
  let end = 0;
  for (const { start, length } of [...parts].sort((a, b) => a.start - b.start)) {
    if (start < end) throw new Error(`the part at ${start} begins before ${end}, where another one ends`);
    end = start + length;
  }
  if (end > capacity) throw new Error(`a part ends at ${end}, and there is room up to ${capacity}`);
}

function play(
  regions: Regions,
  capacity: number,
  held: Part[],
  moves: Array<{ take?: number; give?: number }>,
): void {
  for (const { take, give } of moves) {
    if (take !== undefined) {
      const start = regions.take(take);
      if (start !== undefined) held.push({ start, length: take });
    } else if (held.length > 0) {
      const [part] = held.splice((give as number) % held.length, 1) as [Part];
      regions.give(part.start, part.length);
    }
    requireApart(held, capacity);
    expect(regions.used).toBe(held.reduce((sum, { length }) => sum + Regions.rounded(length), 0));
  }
}

/** With nothing in use there is room for the longest part that there can be. */
function requireWhole(regions: Regions, capacity: number): void {
  expect(regions.used).toBe(0);
  let longest = capacity;
  while (longest > 0 && Regions.rounded(longest) > capacity) longest--;
  if (longest > 0) expect(regions.take(longest)).toBeDefined();
}

const capacities = fc.integer({ min: 0, max: 400 });

describe('regions', () => {
  it('rounds up, by an eighth at most, to what stays as it is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1 << 22 }), (length) => {
        const size = Regions.rounded(length);
        expect(size).toBeGreaterThanOrEqual(length);
        expect(size - length).toBeLessThan(Math.max(4, length / 8));
        expect(Regions.rounded(size)).toBe(size);
      }),
    );
  });

  it('gives nobody what somebody else has', () => {
    fc.assert(
      fc.property(capacities, steps(60), (capacity, moves) =>
        play(new Regions(capacity), capacity, [], moves),
      ),
    );
  });

  it('has all of its room again when all was given back, in one piece', () => {
    fc.assert(
      fc.property(capacities, steps(60), (capacity, moves) => {
        const held: Part[] = [];
        const regions = new Regions(capacity);
        play(regions, capacity, held, moves);
        for (const { start, length } of held) regions.give(start, length);
        requireWhole(regions, capacity);
      }),
    );
  });

  it('goes on after another one, as if it had been that one', () => {
    fc.assert(
      fc.property(capacities, steps(60), steps(60), (capacity, before, after) => {
        const held: Part[] = [];
        play(new Regions(capacity), capacity, held, before);
        const heir = new Regions(capacity);
        heir.adopt(held);
        expect(heir.used).toBe(held.reduce((sum, { length }) => sum + Regions.rounded(length), 0));
        play(heir, capacity, held, after);
        for (const { start, length } of held) heir.give(start, length);
        requireWhole(heir, capacity);
      }),
    );
  });

  it('finds room as long as there is a part that is large enough', () => {
    const regions = new Regions(256);
    const small = Array.from({ length: 64 }, () => regions.take(4) as number);
    expect(regions.take(1)).toBeUndefined();
    for (const start of small.slice(16, 48)) regions.give(start, 4);
    expect(regions.take(128)).toBe(64);
    expect(regions.take(1)).toBeUndefined();
  });
});
