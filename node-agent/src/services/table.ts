/** The choices of a plan: made anew only where the weights have changed enough for it to matter. */
import { hashText } from './hash.js';
import { inTurn } from './in-turn.js';
import { fewSlots, maglevTable, manySlots, tableSize } from './maglev.js';
import type { Replica } from './types.js';

export interface Table {
  readonly choices: Uint32Array;
  /** that it was made from */
  readonly weights: readonly number[];
  /** of the Maglev table, if it is one */
  readonly size: number;
}

export interface TableInput {
  replicas: readonly Replica[];
  weights: readonly number[];
  /** how the kernel numbers flows: by chance, in the order in which they come, or by a hash of the client */
  numbers: 'chance' | 'turn' | 'client';
  /** 0 to below 1, of this node */
  phase: number;
  /** made for the same replicas in the same order, or for others: then only its size counts */
  earlier: Table | undefined;
  samePlaces: boolean;
}

const nothing = new Uint32Array(0);

/** The same object as before where nothing changed enough. */
export function tableOf(input: TableInput): Table {
  const { replicas, weights, phase, earlier, samePlaces } = input;
  if (samePlaces && earlier !== undefined && isNear(weights, earlier.weights)) return earlier;
  let [chosen, only] = [0, 0];
  for (let i = 0; i < weights.length; i++)
    if (weights[i] !== 0) {
      chosen++;
      only = i;
    }
  const kept = earlier?.size ?? 0;
  if (chosen === 0) return { choices: nothing, weights, size: kept };
  if (chosen === 1) return { choices: Uint32Array.of(only), weights, size: kept };
  if (input.numbers === 'turn') return { choices: inTurn(weights, phase), weights, size: kept };
  // By all replicas, not only by those that are chosen: health must not change the size, which moves all keys.
  const size = tableSize(replicas.length, input.numbers === 'client' ? manySlots : fewSlots, kept);
  return { choices: maglevTable(hashesOf(replicas), weights, size, phase), weights, size };
}

function hashesOf(replicas: readonly Replica[]): Uint32Array {
  const hashes = new Uint32Array(replicas.length);
  for (let i = 0; i < hashes.length; i++) {
    const { identity, address, port } = replicas[i] as Replica;
    hashes[i] = hashText(identity ?? address, port);
  }
  return hashes;
}

/** So much of all flows may go elsewhere than the weights say, */
const strayFlows = 0.02;
/** and so much of one replica's own. */
const strayShare = 0.15;

function isNear(weights: readonly number[], made: readonly number[]): boolean {
  let moved = 0;
  for (let i = 0; i < weights.length; i++) {
    const [now, then] = [weights[i] as number, made[i] as number];
    if (now === then) continue;
    if (now === 0 || then === 0 || Math.abs(now - then) > strayShare * then) return false;
    moved += Math.abs(now - then);
  }
  return moved / 2 <= strayFlows;
}
