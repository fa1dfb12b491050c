/**
 * The address pairs that have rules, counted, and their map: the programs ask it only where a packet's ports can't be
 * read. A pair is put in before its first rule is visible and taken out after its last one is gone, so that no packet
 * of a translated flow slips through in between.
 */
import type { BpfMap } from '../native.js';
import { salPair, salSlot } from './abi.generated.js';
import { slotWord } from './rules.js';
import { firstNumbers, groupSlots, slotCount } from './slots.js';

/** Words of a slot that tell its pair: scope (pod, direction, protocol) and both addresses. */
const pairFrom = slotWord.scope;
const pairTo = slotWord.match + 8;

export class PairTable {
  /** by the bytes of struct sal_pair, as text */
  private readonly counts = new Map<string, number>();
  /** slots of each pod */
  private readonly pods = new Map<number, number>();

  constructor(private readonly map: BpfMap) {}

  /** Rebuild from published slots and put the map right (an earlier agent may have been killed between two steps). */
  adopt(slots: Buffer): void {
    for (const [name, size] of byPair(slots)) this.count(name, size);
    const { count, keys } = this.map.entries();
    const stale: Buffer[] = [];
    const seen = new Set<string>();
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * salPair.size, (i + 1) * salPair.size);
      const name = key.toString('latin1');
      seen.add(name);
      if (!this.counts.has(name)) stale.push(key);
    }
    this.map.deleteBatch(Buffer.concat(stale), stale.length);
    this.put([...this.counts.keys()].filter((name) => !seen.has(name)));
  }

  /**
   * Before publishing these slots (or those of them that have these indices). A slot that replaces one has the same
   * pair and is counted already: leave it out.
   */
  add(slots: Buffer, indices?: ArrayLike<number>): void {
    const fresh: string[] = [];
    for (const [name, size] of byPair(slots, indices)) if (this.count(name, size) === size) fresh.push(name);
    this.put(fresh);
  }

  /** After these slots were taken out. */
  remove(slots: Buffer, indices?: ArrayLike<number>): void {
    const gone: Buffer[] = [];
    for (const [name, size] of byPair(slots, indices))
      if (this.count(name, -size) === 0) gone.push(Buffer.from(name, 'latin1'));
    if (gone.length > 0) this.map.deleteBatch(Buffer.concat(gone), gone.length);
  }

  /** Whether any slot of this pod is published. */
  hasPod(podId: number): boolean {
    return this.pods.has(podId);
  }

  private put(names: readonly string[]): void {
    if (names.length === 0) return;
    const values = Buffer.alloc(names.length * 4, 0);
    this.map.updateBatch(
      Buffer.concat(names.map((name) => Buffer.from(name, 'latin1'))),
      values,
      names.length,
    );
  }

  /** Slots of this pair after the change. */
  private count(name: string, change: number): number {
    changed(this.pods, podOf(name), change);
    return changed(this.counts, name, change);
  }
}

/** The count after the change; nothing is kept of a count of 0. */
function changed<Key>(counts: Map<Key, number>, key: Key, change: number): number {
  const now = (counts.get(key) ?? 0) + change;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
  return now;
}

/** How many of these slots each pair has: a pair's text is made once, not for every slot. */
function byPair(
  slots: Buffer,
  indices: ArrayLike<number> = firstNumbers(slotCount(slots)),
): Map<string, number> {
  const totals = new Map<string, number>();
  const { members, sizes } = groupSlots(slots, indices, pairFrom, pairTo);
  members.forEach((index, group) => {
    const name = pairName(slots, index);
    totals.set(name, (totals.get(name) ?? 0) + (sizes[group] as number));
  });
  return totals;
}

/** The bytes of struct sal_pair, as text: a scope without its protocol, then the addresses. */
function pairName(slots: Buffer, index: number): string {
  const at = index * salSlot.size;
  const pair = Buffer.from(slots.subarray(at + pairFrom * 4, at + pairTo * 4));
  pair[salPair.offset.direction + 1] = 0; // the protocol is no part of a pair
  return pair.toString('latin1');
}

function podOf(name: string): number {
  return name.charCodeAt(0) | (name.charCodeAt(1) << 8);
}
