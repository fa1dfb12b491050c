/**
 * Weights. First what part of this node's flows each ring gets, then who gets it within the ring.
 *
 * Rings lie within each other: node, zone, region, world, each with all the nearer ones. All flows stay in the nearest
 * that has replicas as long as its load for each replica is not beyond that of the next one around it; what is too much spills
 * over to there.
 */
import type { Field, Track, Tracks } from './field.js';
import { reliability } from './health.js';
import { nodeRing, worldRing, zoneRing } from './rings.js';
import { cutBack, nextSpill, noSpill, steer, type Spill } from './smoothing.js';

/** How the node, the zone and the region spill over. */
export type Spills = readonly [Spill, Spill, Spill];
export const noSpills: Spills = [noSpill, noSpill, noSpill];

/** rings: the nearest first, with spill-over. client: all of the nearest alike. whole: there are no rings. */
export type Grouping = 'rings' | 'client' | 'whole';

export interface WeightInput {
  field: Field;
  grouping: Grouping;
  /** LeastLoad within each group; else all alike but for those that are eased in */
  byLoad: boolean;
  spills: Spills;
  elapsedMs: number;
}

export interface Weights {
  /** one for each replica; 1 in all, 0 each where nobody can be chosen */
  weights: number[];
  /** part of all flows, of each ring */
  ringShares: readonly number[];
  spills: Spills;
  tracks: Tracks | undefined;
}

export function weigh(input: WeightInput): Weights {
  const { field, grouping, byLoad, elapsedMs } = input;
  const totals = totalsOf(field);
  const { ringShares, spills } = sharesOf(input, totals);
  const groupOf = grouping === 'rings' ? field.ring : undefined;
  const weights = new Array<number>(field.member.length).fill(0);
  const tracks =
    byLoad && field.tier === 'usable'
      ? byLoads(field, groupOf, totals, elapsedMs, weights)
      : alike(field, weights, grouping === 'client');
  if (grouping === 'client') zeroOutside(field, ringShares, weights);
  normalize(weights, groupOf);
  // Without anything measured all are alike.
  if (byLoad && tracks !== undefined) limit(field, weights, groupOf);
  if (groupOf !== undefined)
    weights.forEach((weight, i) => (weights[i] = weight * (ringShares[groupOf[i] as number] as number)));
  return { weights, ringShares, spills, tracks };
}

/** Of the members of each ring, the nearer ones not included. */
interface Totals {
  count: number[];
  /** largest capacity of one */
  best: number[];
  /** of those whose load is known */
  capacity: number[];
  load: number[];
}

function totalsOf({ ring, member, capacity, load }: Field): Totals {
  const totals: Totals = { count: zeros(), best: zeros(), capacity: zeros(), load: zeros() };
  for (let i = 0; i < member.length; i++) {
    if (member[i] === 0) continue;
    const at = ring[i] as number;
    const takes = capacity[i] as number;
    totals.count[at] = (totals.count[at] as number) + 1;
    totals.best[at] = Math.max(totals.best[at] as number, takes);
    const flows = load[i] as number;
    if (Number.isNaN(flows)) continue;
    totals.capacity[at] = (totals.capacity[at] as number) + takes;
    totals.load[at] = (totals.load[at] as number) + flows;
  }
  return totals;
}

/** One for each ring. */
function zeros(): number[] {
  return [0, 0, 0, 0];
}

/** A ring with the nearer ones in it. */
interface Level {
  count: number;
  best: number;
  capacity: number;
  load: number;
}

function levelsOf(totals: Totals): Level[] {
  const levels: Level[] = [];
  let inner: Level = { count: 0, best: 0, capacity: 0, load: 0 };
  for (let ring = 0; ring <= worldRing; ring++) {
    inner = {
      count: inner.count + (totals.count[ring] as number),
      best: Math.max(inner.best, totals.best[ring] as number),
      capacity: inner.capacity + (totals.capacity[ring] as number),
      load: inner.load + (totals.load[ring] as number),
    };
    levels.push(inner);
  }
  return levels;
}

interface Shares {
  ringShares: number[];
  spills: Spills;
}

function sharesOf({ field, grouping, spills, elapsedMs }: WeightInput, totals: Totals): Shares {
  if (field.tier === 'none') return { ringShares: zeros(), spills: noSpills };
  if (grouping === 'whole') return { ringShares: partsOf(totals, worldRing), spills: noSpills };
  const levels = levelsOf(totals);
  if (grouping === 'client') {
    // Node and zone are one: nothing would notice here that the node's only replica is drowned by its own node.
    const nearest = levels.findIndex(({ count }, ring) => ring >= zoneRing && count > 0);
    return { ringShares: partsOf(totals, nearest), spills: noSpills };
  }
  const next: [Spill, Spill, Spill] = [noSpill, noSpill, noSpill];
  const ringShares = zeros();
  let inside = 1;
  for (let ring = worldRing; ring > nodeRing; ring--) {
    const [level, inner] = [levels[ring] as Level, levels[ring - 1] as Level];
    let stays = inner.count === 0 ? 0 : 1;
    if (inner.count > 0 && inner.count < level.count) {
      const spill = field.tier === 'usable' ? spilled(ring - 1, inner, level, spills, elapsedMs) : noSpill;
      next[ring - 1] = spill;
      // Where all of the inner ones are only eased in, others take the rest.
      stays = spill.kept * (inner.best / level.best);
    }
    ringShares[ring] = inside * (1 - stays);
    inside *= stays;
  }
  ringShares[nodeRing] = inside;
  return { ringShares, spills: next };
}

/** Up to and with a ring, each by the number of its replicas. */
function partsOf({ count }: Totals, last: number): number[] {
  let sum = 0;
  for (let ring = 0; ring <= last; ring++) sum += count[ring] as number;
  return count.map((each, ring) => (ring <= last && sum > 0 ? each / sum : 0));
}

/** Within 16 % of its share a ring keeps all its flows. */
const deadband = 0.1;
/**
 * Flows come by chance: a ring of n has more or fewer by the root of n. So many times that must be exceeded, by name of the
 * ring: to leave the zone is a matter of money and time, to leave the node is not.
 */
const certainty = [2.5, 4, 4] as const;

function spilled(ring: number, inner: Level, level: Level, spills: Spills, elapsedMs: number): Spill {
  const isKnown = inner.capacity > 0 && level.capacity > inner.capacity;
  const excess = isKnown
    ? Math.log((inner.load / inner.capacity + 1) / (level.load / level.capacity + 1))
    : undefined;
  const band = deadband + (certainty[ring] as number) / Math.sqrt(inner.load + 1);
  return nextSpill(spills[ring] as Spill, excess, band, elapsedMs);
}

/** What one replica may be given more than others, and less, as logarithms: half as much again, a twentieth. */
const [mostMore, mostLess] = [-Math.log(1.5), Math.log(20)];
/** Answers that take so many times as long as usual in the ring are a sign of trouble. */
const slowAnswer = 2;

/** Fills in weights relative to others of the same group. */
function byLoads(
  field: Field,
  groupOf: readonly number[] | undefined,
  totals: Totals,
  elapsedMs: number,
  weights: number[],
): Tracks | undefined {
  const means = meansOf(totals, groupOf !== undefined);
  const usualRtt = usualRtts(field, groupOf);
  let next: Array<Track | undefined> | undefined;
  for (let i = 0; i < weights.length; i++) {
    const before = field.tracks?.[i];
    let track = before;
    if (field.member[i] === 1) {
      const group = groupOf?.[i] ?? 0;
      const excess = excessOf(field, i, means[group] as number);
      const slow = steer(before?.slow ?? 0, excess, elapsedMs, mostMore, mostLess);
      const cut = cutBack(slow, excess, mostMore, mostLess);
      const usual = usualRtt[group] as number;
      weights[i] = (field.capacity[i] as number) * Math.exp(-cut) * trust(field, i, usual);
      track = steered(before, slow);
    }
    if (track !== undefined) (next ??= [])[i] = track;
  }
  if (next !== undefined) next.length = weights.length;
  return next;
}

function steered(before: Track | undefined, slow: number): Track | undefined {
  const next = Math.abs(slow) < 1e-4 ? 0 : slow;
  if (before?.slow === next) return before;
  return before?.health === undefined && next === 0 ? undefined : { health: before?.health, slow: next };
}

/** NaN where no load is known. */
function meansOf({ load, capacity }: Totals, each: boolean): number[] {
  if (each) return load.map((flows, ring) => flows / (capacity[ring] as number));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return [sum(load) / sum(capacity)];
}

/** An unknown load is like any other: who has just been restarted must not look idle. What chance explains is none. */
function excessOf({ load, capacity }: Field, i: number, mean: number): number | undefined {
  const flows = load[i] as number;
  if (Number.isNaN(flows) || capacity[i] !== 1) return undefined;
  const excess = Math.log((flows + 1) / (mean + 1));
  const chance = Math.min(0.5, 0.5 / Math.sqrt(mean + 1));
  return Math.sign(excess) * Math.max(0, Math.abs(excess) - chance);
}

/** Geometric means by group, NaN where nothing is known: one replica that takes very long hardly changes them. */
function usualRtts({ member, measured }: Field, groupOf: readonly number[] | undefined): number[] {
  const logs = zeros();
  const counts = zeros();
  if (measured !== undefined)
    for (let i = 0; i < member.length; i++) {
      const rtt = measured[i]?.seen?.rttUs ?? 0;
      if (member[i] === 0 || rtt <= 0) continue;
      const group = groupOf?.[i] ?? 0;
      logs[group] = (logs[group] as number) + Math.log(rtt);
      counts[group] = (counts[group] as number) + 1;
    }
  return logs.map((sum, group) => Math.exp(sum / (counts[group] as number)));
}

/** From what this node's own clients met: 1, or less. */
function trust({ tracks, measured }: Field, i: number, usualRtt: number): number {
  const health = tracks?.[i]?.health;
  const rtt = measured?.[i]?.seen?.rttUs ?? 0;
  const late = rtt > slowAnswer * usualRtt ? Math.max(1 / 3, (slowAnswer * usualRtt) / rtt) : 1;
  return health === undefined ? late : late * reliability(health);
}

function alike({ member, capacity, tracks }: Field, weights: number[], all: boolean): Tracks | undefined {
  for (let i = 0; i < weights.length; i++)
    weights[i] = all ? (member[i] as number) : (member[i] as number) * (capacity[i] as number);
  return tracks;
}

function zeroOutside({ ring }: Field, ringShares: readonly number[], weights: number[]): void {
  for (let i = 0; i < weights.length; i++) if (ringShares[ring[i] as number] === 0) weights[i] = 0;
}

/** To a sum of 1 in each group. */
function normalize(weights: number[], groupOf: readonly number[] | undefined): void {
  const sums = sumsOf(weights, groupOf);
  for (let i = 0; i < weights.length; i++)
    if (weights[i] !== 0) weights[i] = (weights[i] as number) / (sums[groupOf?.[i] ?? 0] as number);
}

function sumsOf(values: readonly number[], groupOf: readonly number[] | undefined): number[] {
  const sums = zeros();
  for (let i = 0; i < values.length; i++) {
    const group = groupOf?.[i] ?? 0;
    sums[group] = (sums[group] as number) + (values[i] as number);
  }
  return sums;
}

/** So many times what it would have if all were alike is the most that one replica gets, however idle it looks. */
const mostOfEven = 2;
/** One is enough nearly always; what is still beyond the limit after these doesn't matter. */
const passes = 4;

/** Gives what is beyond the limit to the others. Weights are 1 in all in each group, before and after. */
function limit({ member, capacity }: Field, weights: number[], groupOf: readonly number[] | undefined): void {
  const takes = capacity.map((each, i) => each * (member[i] as number));
  const sums = sumsOf(takes, groupOf);
  const most = takes.map((each, i) =>
    each === 0 ? 0 : (mostOfEven * each) / (sums[groupOf?.[i] ?? 0] as number),
  );
  for (let pass = 0; pass < passes; pass++) {
    if (weights.every((weight, i) => weight <= (most[i] as number))) return;
    weights.forEach((weight, i) => (weights[i] = Math.min(weight, most[i] as number)));
    const all = sumsOf(weights, groupOf);
    const others = sumsOf(
      weights.map((weight, i) => (weight < (most[i] as number) ? weight : 0)),
      groupOf,
    );
    weights.forEach((weight, i) => {
      const group = groupOf?.[i] ?? 0;
      const [sum, free] = [all[group] as number, others[group] as number];
      if (weight < (most[i] as number)) weights[i] = (weight * (1 - sum + free)) / free;
    });
  }
}
