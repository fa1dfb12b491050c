/** Takes what is kept of each replica on to the next plan, whatever came, went or changed places in between. */
import type { Track, Tracks } from './field.js';
import { fraction } from './hash.js';
import { nextHealth } from './health.js';
import { flowsOf } from './field.js';
import type { Measured, Replica } from './types.js';

/** What a replica is known by. */
export function replicaName({ identity, address, port }: Replica): string {
  return `${identity ?? address} ${port}`;
}

/** For each of the replicas its index among the earlier ones, or -1; undefined: all are where they were. */
export function earlierPlaces(
  replicas: readonly Replica[],
  earlier: readonly Replica[],
): Int32Array | undefined {
  if (replicas === earlier) return undefined;
  if (replicas.length === earlier.length && replicas.every((each, i) => isSame(each, earlier[i] as Replica)))
    return undefined;
  const places = new Map(earlier.map((replica, i) => [replicaName(replica), i]));
  return Int32Array.from(replicas, (replica) => places.get(replicaName(replica)) ?? -1);
}

function isSame(one: Replica, other: Replica): boolean {
  return one.port === other.port && (one.identity ?? one.address) === (other.identity ?? other.address);
}

export interface TrackInput {
  /** of this node */
  node: string;
  replicas: readonly Replica[];
  measured: ReadonlyArray<Measured | undefined> | undefined;
  earlier: { replicas: readonly Replica[]; tracks: Tracks | undefined } | undefined;
  places: Int32Array | undefined;
  /** newcomers get their share bit by bit */
  easesIn: boolean;
  now: number;
}

export function nextTracks(input: TrackInput): Tracks | undefined {
  const { node, replicas, measured, earlier, places, now } = input;
  const canArrive = input.easesIn && earlier?.replicas.some(({ ready }) => ready) === true;
  if (measured === undefined && earlier?.tracks === undefined && !canArrive) return undefined;
  const usual = canArrive ? meanFlows(measured) : NaN;
  let next: Array<Track | undefined> | undefined;
  for (let i = 0; i < replicas.length; i++) {
    const replica = replicas[i] as Replica;
    const place = places === undefined ? i : (places[i] as number);
    const before = earlier?.tracks?.[place];
    const measure = measured?.[i];
    const isNew = canArrive && replica.ready && earlier?.replicas[place]?.ready !== true;
    // Who has its share of flows already is no cold start: its slice was late, or its workload was moved.
    const arrived = isNew && !(measure?.load !== undefined && flowsOf(measure.load) >= usual / 2);
    if (before === undefined && measure?.seen === undefined && measure?.dead !== true && !arrived) continue;
    const health = nextHealth(before?.health, {
      now,
      seen: measure?.seen,
      dead: measure?.dead,
      moving: measure?.load?.moving,
      arrived,
      jitter: fraction(replica.address + node, replica.port),
    });
    if (health === undefined && (before === undefined || before.slow === 0)) continue;
    const isUnchanged = before !== undefined && before.health === health;
    (next ??= [])[i] = isUnchanged ? before : { health, slow: before?.slow ?? 0 };
  }
  if (next !== undefined) next.length = replicas.length;
  return next;
}

/** NaN where none is known. */
function meanFlows(measured: ReadonlyArray<Measured | undefined> | undefined): number {
  let [sum, count] = [0, 0];
  for (const measure of measured ?? [])
    if (measure?.load !== undefined) {
      sum += flowsOf(measure.load);
      count++;
    }
  return sum / count;
}
