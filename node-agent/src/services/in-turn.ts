/**
 * A sequence in which each index comes as often as its weight says, evenly spread: the kernel goes through it with a counter
 * (smooth weighted round robin).
 */
import { quotas, tableSize } from './maglev.js';

/** `phase` (0 to below 1) is where a node begins: else every node's first flow would go to the same replica. */
export function inTurn(weights: ArrayLike<number>, phase: number): Uint32Array {
  const members: number[] = [];
  for (let i = 0; i < weights.length; i++) if ((weights[i] as number) > 0) members.push(i);
  if (members.every((index) => weights[index] === weights[members[0] as number]))
    return rotated(Uint32Array.from(members), phase);
  const size = tableSize(members.length);
  return rotated(spread(quotas(weights, size, phase), size), phase);
}

/** Each one's times are in the middles of equal parts of the whole; all times are sorted by counting. */
function spread(quota: Uint32Array, size: number): Uint32Array {
  const begins = new Uint32Array(size + 1);
  eachTime(quota, size, (at) => (begins[at + 1] = (begins[at + 1] as number) + 1));
  for (let at = 1; at <= size; at++) begins[at] = (begins[at] as number) + (begins[at - 1] as number);
  const sequence = new Uint32Array(size);
  eachTime(quota, size, (at, index) => {
    const next = begins[at] as number;
    sequence[next] = index;
    begins[at] = next + 1;
  });
  return sequence;
}

function eachTime(quota: Uint32Array, size: number, found: (at: number, index: number) => void): void {
  for (let index = 0; index < quota.length; index++) {
    const times = quota[index] as number;
    for (let time = 0; time < times; time++) found(Math.floor(((time + 0.5) * size) / times), index);
  }
}

function rotated(sequence: Uint32Array, phase: number): Uint32Array {
  const first = Math.floor(phase * sequence.length);
  if (first === 0) return sequence;
  const result = new Uint32Array(sequence.length);
  result.set(sequence.subarray(first));
  result.set(sequence.subarray(0, first), sequence.length - first);
  return result;
}
