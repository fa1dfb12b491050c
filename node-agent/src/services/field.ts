/**
 * All that the weights of one service depend on, one number for each replica: 100,000 of them are gone through at once. Plain
 * arrays: most services have ten replicas, and small typed arrays cost a malloc each, which shows at 10,000 services.
 */
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
  readonly ring: readonly number[];
  /** 1 for those among whom is chosen */
  readonly member: readonly number[];
  /** what part of a share each takes, 0 to 1 */
  readonly capacity: readonly number[];
  /** flows, NaN where nobody knows */
  readonly load: readonly number[];
  readonly tier: Tier;
}

/** Who may be chosen, the best first; a worse tier counts only while no better one has anybody. */
export const tiers = ['usable', 'moving', 'draining', 'silent', 'silentDraining', 'none'] as const;
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

export function fieldOf(input: FieldInput): Field {
  const { place, replicas, measured, tracks } = input;
  const ring = replicas.map((replica) => ringNumber(place, replica));
  const load = new Array<number>(replicas.length).fill(NaN);
  measured?.forEach((measure, i) => {
    if (measure?.load !== undefined) load[i] = flowsOf(measure.load);
  });
  const { member, tier } = membersOf(input, ring);
  const capacity = new Array<number>(replicas.length).fill(1);
  if (tier === 'usable')
    tracks?.forEach((track, i) => {
      if (track?.health !== undefined && member[i] === 1) capacity[i] = healthShare(track.health, input.now);
    });
  return { replicas, measured, tracks, ring, member, capacity, load, tier };
}

function membersOf(
  { replicas, measured, tracks, zoneOnly }: FieldInput,
  ring: readonly number[],
): Pick<Field, 'member' | 'tier'> {
  let best = noTier;
  const ranks = replicas.map((replica, i) => {
    const isFar = zoneOnly && (ring[i] as number) > zoneRing;
    const moving = measured?.[i]?.load?.moving === true;
    const rank = isFar ? noTier : rankOf(replica, moving, tracks?.[i]?.health);
    best = Math.min(best, rank);
    return rank;
  });
  const member = ranks.map((rank) => (rank === best && rank !== noTier ? 1 : 0));
  return { member, tier: tiers[best] as Tier };
}

const noTier = tiers.indexOf('none');

function rankOf(replica: Replica, moving: boolean, health: Health | undefined): number {
  const state = health?.state ?? 'good';
  if (state === 'dead' || (!replica.ready && !replica.draining)) return noTier;
  if (state === 'silent' && !moving) return tiers.indexOf(replica.ready ? 'silent' : 'silentDraining');
  if (!replica.ready) return tiers.indexOf('draining');
  return moving ? tiers.indexOf('moving') : 0;
}

/** What waits to be accepted is work as well, and the first to grow where a replica can't keep up. */
export function flowsOf({ established, backlog }: ReplicaLoad): number {
  return established + backlog;
}
