/** All that the weights of one service depend on, one number for each replica: 100,000 of them are gone through at once. */
import { healthShare, type Health } from './health.js';
import { ringNumber, zoneRing } from './rings.js';
import type { Measured, Place, Replica, ReplicaLoad } from './types.js';

/** What is kept of a replica from one plan to the next; undefined stands for nothing. */
export interface Track {
  readonly health: Health | undefined;
  /** slow mean of its excess of load over the others of its ring, see smoothing.ts */
  readonly slow: number;
}
export type Tracks = ReadonlyArray<Track | undefined>;

export interface Field {
  readonly replicas: readonly Replica[];
  readonly measured: ReadonlyArray<Measured | undefined> | undefined;
  readonly tracks: Tracks | undefined;
  /** numbers of rings */
  readonly ring: Uint8Array;
  /** 1 for those among whom is chosen */
  readonly member: Uint8Array;
  /** what part of a share each takes, 0 to 1 */
  readonly capacity: Float64Array;
  /** flows, NaN where nobody knows */
  readonly load: Float64Array;
  readonly tier: Tier;
}

/** Who may be chosen, the best first; a worse tier counts only while no better one has anybody. */
export const tiers = ['usable', 'moving', 'draining', 'silent', 'none'] as const;
export type Tier = (typeof tiers)[number];

export interface FieldInput {
  place: Place;
  replicas: readonly Replica[];
  measured: ReadonlyArray<Measured | undefined> | undefined;
  tracks: Tracks | undefined;
  /** locality Require */
  zoneOnly: boolean;
  now: number;
}

export function fieldOf({ place, replicas, measured, tracks, zoneOnly, now }: FieldInput): Field {
  const count = replicas.length;
  const ring = new Uint8Array(count);
  const member = new Uint8Array(count);
  const capacity = new Float64Array(count).fill(1);
  const load = new Float64Array(count).fill(NaN);
  const rank = new Uint8Array(count);
  let best = noTier;
  for (let i = 0; i < count; i++) {
    const replica = replicas[i] as Replica;
    const measure = measured?.[i];
    ring[i] = ringNumber(place, replica);
    if (measure?.load !== undefined) load[i] = flowsOf(measure.load);
    const isFar = zoneOnly && (ring[i] as number) > zoneRing;
    rank[i] = isFar ? noTier : rankOf(replica, measure?.load?.moving === true, tracks?.[i]?.health);
    best = Math.min(best, rank[i] as number);
  }
  for (let i = 0; i < count; i++) {
    if (rank[i] !== best || best === noTier) continue;
    member[i] = 1;
    if (best === 0) capacity[i] = healthShare(tracks?.[i]?.health, now);
  }
  return { replicas, measured, tracks, ring, member, capacity, load, tier: tiers[best] as Tier };
}

const noTier = tiers.indexOf('none');

function rankOf(replica: Replica, moving: boolean, health: Health | undefined): number {
  const state = health?.state ?? 'good';
  if (state === 'dead' || (!replica.ready && !replica.draining)) return noTier;
  if (state === 'silent' && !moving) return tiers.indexOf('silent');
  if (!replica.ready) return tiers.indexOf('draining');
  return moving ? tiers.indexOf('moving') : 0;
}

/** What waits to be accepted is work as well, and the first to grow where a replica can't keep up. */
export function flowsOf({ established, backlog }: ReplicaLoad): number {
  return established + backlog;
}
