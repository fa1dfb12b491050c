/** UDP sessions of tracked pods, as the programs note them in a pinned map. */
import type { BpfMap } from '../native.js';
import { salKey, salScope, salSession } from './abi.generated.js';
import { isGroupOrNobody } from './address.js';
import { decodeTuple } from './rules.js';
import type { Session } from './types.js';

/** Those of a pod that were heard of less than this long ago. */
export function readSessions(map: BpfMap, podId: number, maxIdleMs: number): Session[] {
  const { count, keys, values } = map.entries();
  const [now, wallClock] = [process.hrtime.bigint(), Date.now()];
  const sessions: Session[] = [];
  for (let i = 0; i < count; i++) {
    if (podOf(keys, i) !== podId) continue;
    const { tuple } = salKey.read(keys, i * salKey.size);
    const { lastSeenNs } = salSession.read(values, i * salSession.size);
    // Heard of after the clock was read: not idle at all.
    const idleMs = Math.max(0, Number(now - lastSeenNs) / 1e6);
    const isOne = !isGroupOrNobody(tuple.local) && !isGroupOrNobody(tuple.remote);
    if (idleMs < maxIdleMs && isOne)
      sessions.push({ protocol: 'udp', tuple: decodeTuple(tuple), lastSeen: wallClock - idleMs });
  }
  return sessions;
}

export function forgetSessions(map: BpfMap, podId: number): void {
  const { count, keys } = map.entries();
  const own: Buffer[] = [];
  for (let i = 0; i < count; i++)
    if (podOf(keys, i) === podId) own.push(keys.subarray(i * salKey.size, (i + 1) * salKey.size));
  if (own.length > 0) map.deleteBatch(Buffer.concat(own), own.length);
}

function podOf(keys: Buffer, index: number): number {
  return keys.readUInt16LE(index * salKey.size + salKey.offset.scope + salScope.offset.pod);
}
