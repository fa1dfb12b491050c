/** Takes what is kept of each replica on to the next plan, whatever came, went or changed places in between. */
import { flowsOf, type Track, type Tracks } from './field.js';
import { fraction } from './hash.js';
import { nextHealth } from './health.js';
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
  const { replicas, measured } = input;
  const hasArrived = arrivals(input);
  const tracks = tracksBefore(input);
  if (measured === undefined && tracks.length === 0 && hasArrived === undefined) return undefined;
  let next: Array<Track | undefined> | undefined;
  for (let i = 0; i < replicas.length; i++) {
    const before = tracks[placeBefore(input, i)];
    const arrived = hasArrived?.(i) === true;
    const track = nextTrack(input, replicas[i] as Replica, before, measured?.[i] ?? nothing, arrived);
    if (track !== undefined) (next ??= [])[i] = track;
  }
  if (next !== undefined) next.length = replicas.length;
  return next;
}

const nothing: Measured = {};

function tracksBefore({ earlier }: TrackInput): Tracks {
  return earlier?.tracks ?? [];
}

function placeBefore({ places }: TrackInput, i: number): number {
  return places === undefined ? i : (places[i] as number);
}

/**
 * Tells who is to be eased in: ready now and not before, where others were ready before. Who has its share of flows already
 * is no cold start: its slice was late, or its workload was moved.
 */
function arrivals(input: TrackInput): ((i: number) => boolean) | undefined {
  const { replicas, measured, earlier, easesIn } = input;
  if (!easesIn || earlier === undefined || !earlier.replicas.some(({ ready }) => ready)) return undefined;
  const usual = meanFlows(measured);
  return (i) => {
    if (replicas[i]?.ready !== true || earlier.replicas[placeBefore(input, i)]?.ready === true) return false;
    const load = measured?.[i]?.load;
    return load === undefined || !(flowsOf(load) >= usual / 2);
  };
}

function nextTrack(
  { node, now }: TrackInput,
  { address, port }: Replica,
  before: Track | undefined,
  { load, seen, dead }: Measured,
  arrived: boolean,
): Track | undefined {
  const isNews = seen !== undefined || dead === true || arrived;
  // Most of 100,000: nothing to remember, and no hash to be made.
  if (before === undefined && !isNews) return undefined;
  const jitter = (): number => fraction(address + node, port);
  const health = nextHealth(before?.health, { now, seen, dead, moving: load?.moving, arrived, jitter });
  if (before?.health === health) return before;
  return { health, slow: before?.slow ?? 0 };
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
