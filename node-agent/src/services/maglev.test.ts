import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hashText } from './hash.js';
import { inTurn } from './in-turn.js';
import { fewSlots, maglevTable, manySlots, quotas, tableSize, tableSizes } from './maglev.js';

function hashesFor(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) =>
    hashText(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 80),
  );
}

function counts(table: Uint32Array, length: number): number[] {
  const result = new Array<number>(length).fill(0);
  for (const index of table) result[index] = (result[index] as number) + 1;
  return result;
}

/** Keys that change hands although their replica is still there, and those that have to, as parts of all. */
function moved(count: number, gone: number, slots: number): { needless: number; needed: number } {
  const size = tableSize(count, slots);
  const hashes = hashesFor(count);
  const before = maglevTable(hashes, new Float64Array(count).fill(1), size);
  const weights = new Float64Array(count).fill(1);
  weights[gone] = 0;
  const after = maglevTable(hashes, weights, size);
  let [needless, needed] = [0, 0];
  for (let slot = 0; slot < size; slot++)
    if (before[slot] === gone) needed++;
    else if (before[slot] !== after[slot]) needless++;
  return { needless: needless / size, needed: needed / size };
}

const weightLists = fc.array(
  fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 1e-3, max: 10, noNaN: true })),
  {
    minLength: 1,
    maxLength: 40,
  },
);
const phases = fc.double({ min: 0, max: 0.999, noNaN: true });

describe('sizes of tables', () => {
  it('are primes', () => {
    const isPrime = (value: number): boolean => {
      for (let by = 2; by * by <= value; by++) if (value % by === 0) return false;
      return true;
    };
    expect(tableSizes.filter((size) => !isPrime(size))).toEqual([]);
  });

  it.each([
    [1, 127],
    [10, 127],
    [12, 127],
    [13, 251],
    [1_000, 16_381],
    [100_000, 1_048_573],
  ])('%d replicas take %d slots', (replicas, size) => {
    expect(tableSize(replicas)).toBe(size);
  });

  it('shrink late, since another size moves all keys', () => {
    expect(tableSize(100, fewSlots, 8191)).toBe(8191);
    expect(tableSize(100, fewSlots, 16_381)).toBe(1021);
    expect(tableSize(103, fewSlots, 1021)).toBe(2039);
  });
});

describe('quotas', () => {
  it('give each its share to within one slot, and all slots to somebody', () => {
    fc.assert(
      fc.property(weightLists, fc.constantFrom(...tableSizes.slice(0, 4)), phases, (weights, size, phase) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const result = quotas(weights, size, phase);
        if (total === 0) return;
        expect(result.reduce((sum, each) => sum + each, 0)).toBe(size);
        for (const [i, weight] of weights.entries()) {
          if (weight === 0) expect(result[i]).toBe(0);
          expect(Math.abs((result[i] as number) - (weight / total) * size)).toBeLessThan(1 + 1e-6);
        }
      }),
    );
  });

  it('let nodes choose different ones where shares are smaller than a slot', () => {
    const weights = new Float64Array(1_000).fill(1);
    const chosen = new Float64Array(1_000);
    for (let node = 0; node < 100; node++)
      quotas(weights, 127, node / 100).forEach((each, i) => (chosen[i]! += each));
    // 12.7 each.
    expect(Math.min(...chosen)).toBeGreaterThanOrEqual(12);
    expect(Math.max(...chosen)).toBeLessThanOrEqual(14);
  });
});

describe('Maglev tables', () => {
  it('hold exactly the quotas', () => {
    fc.assert(
      fc.property(weightLists, phases, (weights, phase) => {
        if (weights.every((weight) => weight === 0)) return;
        const table = maglevTable(hashesFor(weights.length), weights, 509, phase);
        expect(counts(table, weights.length)).toEqual([...quotas(weights, 509, phase)]);
      }),
    );
  });

  it.each([
    [10, fewSlots, 0.09],
    [100, fewSlots, 0.09],
    [1_000, fewSlots, 0.07],
    [10, manySlots, 0.02],
    [100, manySlots, 0.014],
    [1_000, manySlots, 0.009],
  ])(
    'move few keys when one of %d comes or goes, with %d slots each: %d beside its own',
    (count, slots, share) => {
      const tries = Array.from({ length: 10 }, (_, i) => moved(count, Math.floor((i * count) / 10), slots));
      const mean = (of: (each: { needless: number; needed: number }) => number): number =>
        tries.reduce((sum, each) => sum + of(each), 0) / tries.length;
      expect(mean(({ needed }) => needed)).toBeCloseTo(1 / count, 3);
      // As maglev.ts says.
      expect(mean(({ needless }) => needless)).toBeGreaterThan(share * 0.9);
      expect(mean(({ needless }) => needless)).toBeLessThan(share * 1.1);
    },
  );

  it('hold 100,000 replicas within about a second', () => {
    const count = 100_000;
    const started = performance.now();
    const table = maglevTable(hashesFor(count), new Float64Array(count).fill(1), tableSize(count));
    expect(performance.now() - started).toBeLessThan(3_000);
    const each = counts(table, count);
    expect(Math.min(...each.slice(0, 10_000))).toBeGreaterThanOrEqual(10);
  });
});

describe('in turn', () => {
  it('has each once where all are alike, and begins elsewhere on other nodes', () => {
    expect([...inTurn([1, 1, 0, 1], 0)]).toEqual([0, 1, 3]);
    expect([...inTurn([1, 1, 0, 1], 0.5)]).toEqual([1, 3, 0]);
  });

  it('spreads each one as its weight says', () => {
    fc.assert(
      fc.property(weightLists, phases, (weights, phase) => {
        const members = weights.filter((weight) => weight > 0);
        if (members.length === 0) return;
        const sequence = inTurn(weights, phase);
        const total = members.reduce((sum, weight) => sum + weight, 0);
        const seen = counts(sequence, weights.length);
        for (const [i, weight] of weights.entries())
          expect(Math.abs((seen[i] as number) - (weight / total) * sequence.length)).toBeLessThan(1 + 1e-6);
      }),
    );
  });

  it('leaves no long gap: twice the usual one at most', () => {
    const weights = [8, 4, 2, 1, 1];
    const sequence = [...inTurn(weights, 0)];
    weights.forEach((weight, index) => {
      const at = sequence.flatMap((each, i) => (each === index ? [i] : []));
      const gaps = at.slice(1).map((each, i) => each - (at[i] as number));
      expect(Math.max(...gaps)).toBeLessThanOrEqual((2 * 16) / weight);
    });
  });
});
