/**
 * The address pairs that have rules, counted, and their map: the programs ask it only where a packet's ports can't be
 * read. A pair is put in before its first rule is visible and taken out after its last one is gone, so that no packet
 * of a translated flow slips through in between.
 */
import type { BpfMap } from '../native.js';
import { salDirection, salKey, salPair, salSlot } from './abi.generated.js';

/** Bytes of struct sal_key that name the pair: pod, direction; both addresses. */
const addressesAt = salKey.offset.tuple;
const addressesLength = 32;

export class PairTable {
  private readonly counts = new Map<string, number>();

  constructor(private readonly map: BpfMap) {}

  /** Rebuild from published slots and put the map right (an earlier agent may have been killed between two steps). */
  adopt(slots: Buffer): void {
    for (let at = 0; at < slots.length; at += salSlot.size) this.count(pairName(slots, at), 1);
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

  /** Before publishing these slots. */
  add(slots: Buffer): void {
    const fresh: string[] = [];
    this.eachRun(slots, (name, times) => {
      if (this.count(name, times) === times) fresh.push(name);
    });
    this.put(fresh);
  }

  /** After these slots were taken out. */
  remove(slots: Buffer): void {
    const gone: Buffer[] = [];
    this.eachRun(slots, (name, times) => {
      if (this.count(name, -times) === 0) gone.push(Buffer.from(name, 'latin1'));
    });
    if (gone.length > 0) this.map.deleteBatch(Buffer.concat(gone), gone.length);
  }

  private put(names: readonly string[]): void {
    if (names.length === 0) return;
    const values = Buffer.alloc(names.length * 4, 0);
    this.map.updateBatch(Buffer.concat(names.map((name) => Buffer.from(name, 'latin1'))), values, names.length);
  }

  /** Count of this pair after the change. */
  private count(name: string, change: number): number {
    const now = (this.counts.get(name) ?? 0) + change;
    if (now > 0) this.counts.set(name, now);
    else this.counts.delete(name);
    return now;
  }

  /** Most slots of a batch share few pairs, and neighbours share one: look at the text of a pair once a run. */
  private eachRun(slots: Buffer, visit: (name: string, times: number) => void): void {
    const totals = new Map<string, number>();
    let runStart = -1;
    let name = '';
    for (let at = 0; at < slots.length; at += salSlot.size) {
      if (runStart < 0 || !samePair(slots, runStart, at)) {
        runStart = at;
        name = pairName(slots, at);
      }
      totals.set(name, (totals.get(name) ?? 0) + 1);
    }
    for (const [pair, times] of totals) visit(pair, times);
  }
}

function samePair(slots: Buffer, a: number, b: number): boolean {
  if (slots.readUInt16LE(a) !== slots.readUInt16LE(b) || slots[a + 2] !== slots[b + 2]) return false;
  return slots.compare(slots, b + addressesAt, b + addressesAt + addressesLength, a + addressesAt, a + addressesAt + addressesLength) === 0;
}

/** The bytes of struct sal_pair, as text. */
function pairName(slots: Buffer, at: number): string {
  const pair = Buffer.alloc(salPair.size);
  slots.copy(pair, 0, at, at + 2);
  pair.writeUInt8(slots[at + 2] ?? salDirection.EGRESS, salPair.offset.direction);
  slots.copy(pair, salPair.offset.local, at + addressesAt, at + addressesAt + addressesLength);
  return pair.toString('latin1');
}
