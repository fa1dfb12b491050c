/**
 * Weighted Maglev tables (Eisenbud and others, NSDI 2016): every replica walks the slots in an order of its own and takes
 * free ones in turn, as many as its weight gives it. When a replica goes, its slots go to others and hardly any slot
 * changes hands otherwise.
 *
 * When one of n goes or comes, its own 1/n of the keys has to move. Beside that move, measured (maglev.test.ts), of all keys: with
 * ten slots for each replica 9 % at 10 and at 100 replicas, 7 % at 1,000; with a hundred slots 2.0 %, 1.4 % and 0.9 %. The former
 * is for flows that are numbered by chance, where nobody notices; the latter for those that are numbered by client.
 */
import { mix } from './hash.js';

/** Primes, each about twice the one before: a walk by any step reaches every slot. */
export const tableSizes: readonly number[] = [
  127, 251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071, 262_139, 524_287, 1_048_573,
  2_097_143,
];

const largestSize = 2_097_143;

/** Slots for each replica: each has its share to within a tenth of it. */
export const fewSlots = 10;
/** For flows that are numbered by client. */
export const manySlots = 100;

/**
 * Slots for so many replicas, as far as there are primes. `current` is kept until it is too small or more than eight times too large: another size
 * moves nearly all keys.
 */
export function tableSize(replicas: number, slotsEach = fewSlots, current = 0): number {
  const wanted = tableSizes.find((size) => size >= replicas * slotsEach) ?? largestSize;
  return current >= wanted && current <= wanted * 8.5 ? current : wanted;
}

/**
 * How many of `size` slots each weight gets: its share to within one slot, `size` in all. Where shares are smaller than
 * a slot, `phase` (0 to below 1) says who has one: with phases of their own, nodes choose different ones.
 */
export function quotas(weights: ArrayLike<number>, size: number, phase: number): Uint32Array {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i] as number;
  const result = new Uint32Array(weights.length);
  let [sum, before, last] = [0, 0, -1];
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (weight === 0) continue;
    sum += weight;
    // A sum of many fractions is never quite the total: a hair more keeps whole shares whole.
    const upTo = Math.min(size, Math.floor((sum / total) * size + phase + 1e-9));
    result[i] = upTo - before;
    [before, last] = [upTo, i];
  }
  if (last !== -1) result[last] = (result[last] as number) + size - before;
  return result;
}

/**
 * The table: in each slot an index. `hashes` are of what the replicas are known by, in an order that does not depend on who
 * else is there (replicas.ts sorts them); `size` is one of `tableSizes`; weights are at least 0, and one is above.
 */
export function maglevTable(
  hashes: ArrayLike<number>,
  weights: ArrayLike<number>,
  size: number,
  phase = 0.5,
): Uint32Array {
  const quota = quotas(weights, size, phase);
  const walkers = walkersOf(hashes, quota, size);
  const table = new Uint32Array(size).fill(free);
  let rounds = 1;
  for (const each of quota) rounds = Math.max(rounds, each);
  // In each round those with the most take one slot, the others every so many rounds: all end at the same time.
  for (let round = 1; round <= rounds; round++)
    for (let w = 0; w < walkers.index.length; w++) {
      const index = walkers.index[w] as number;
      const due = (((quota[index] as number) * round) / rounds) >>> 0;
      while ((walkers.taken[w] as number) < due) take(table, walkers, w, size);
    }
  return table;
}

const free = 0xffffffff;

interface Walkers {
  /** of those that have slots to take */
  index: Uint32Array;
  /** the next slot to look at */
  at: Uint32Array;
  step: Uint32Array;
  taken: Uint32Array;
}

function walkersOf(hashes: ArrayLike<number>, quota: Uint32Array, size: number): Walkers {
  let count = 0;
  for (const each of quota) if (each > 0) count++;
  const walkers: Walkers = {
    index: new Uint32Array(count),
    at: new Uint32Array(count),
    step: new Uint32Array(count),
    taken: new Uint32Array(count),
  };
  let w = 0;
  for (let index = 0; index < hashes.length; index++) {
    if (quota[index] === 0) continue;
    const hash = hashes[index] as number;
    walkers.index[w] = index;
    walkers.at[w] = mix(hash) % size;
    walkers.step[w] = 1 + (mix(hash ^ 0x5bf03635) % (size - 1));
    w++;
  }
  return walkers;
}

function take(table: Uint32Array, { index, at, step, taken }: Walkers, w: number, size: number): void {
  let slot = at[w] as number;
  const by = step[w] as number;
  while (table[slot] !== free) {
    slot += by;
    if (slot >= size) slot -= size;
  }
  table[slot] = index[w] as number;
  at[w] = slot;
  taken[w] = (taken[w] as number) + 1;
}
