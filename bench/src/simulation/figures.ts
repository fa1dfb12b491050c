/** What a run comes to, in figures. Loads are in parts of what each replica would have if all had the same. */
import type { Run, Second } from './run.js';
import { eventAt, lateSeconds, restartSeconds } from './scenarios.js';
import { zoneOfReplica, zones } from './world.js';

export interface Figures {
  /** how far the zone that is farthest off was off at most since the event: 0.2 is 20 % */
  spreadPeak: number;
  /** the same at the end of the run */
  spreadLate: number;
  /** from the event until no zone was off by more than 20 % any more, s; Infinity: it stayed so */
  settledAfter: number;
  /** part of all flows that left their client's zone: before the event, and at the end */
  crossingBefore: number;
  crossingLate: number;
  /** part of zone a's flows that its nodes keep inside, at the end of the run */
  keptLow: number;
  keptHigh: number;
  /** load of the first replica, to which things happen in some scenarios: at most since the event, mean at the end */
  firstPeak: number;
  firstLate: number;
  /** flows that began at the first replica, in parts of the mean, at most in five seconds of the twenty since it was back */
  firstNewPeak: number;
  /** connects that met a replica that was not there */
  failed: number;
}

export function figuresOf(run: Run): Figures {
  const since = run.seconds.filter(({ time }) => time >= eventAt);
  const late = since.slice(-lateSeconds);
  const spreads = since.map(spreadOf);
  const lastOff = spreads.findLastIndex((spread) => spread > 0.2);
  const kept = late.map((second) => second.kept[0] as number);
  const backAt = eventAt + restartSeconds;
  const back = since.filter(({ time }) => time >= backAt && time < backAt + 20);
  return {
    spreadPeak: Math.max(...spreads),
    spreadLate: Math.max(...spreads.slice(-lateSeconds)),
    settledAfter: lastOff === spreads.length - 1 ? Infinity : lastOff + 1,
    crossingBefore: crossing(run.seconds.filter(({ time }) => time < eventAt)),
    crossingLate: crossing(late),
    keptLow: Math.min(...kept),
    keptHigh: Math.max(...kept),
    firstPeak: Math.max(...since.map((second) => relative(second)[0] as number)),
    firstLate: mean(late.map((second) => relative(second)[0] as number)),
    firstNewPeak: Math.max(...running(back.map(newAtFirst), 5)),
    failed: run.seconds.reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** Of each replica, in parts of the mean of all. */
export function relative({ flows }: Second): Float64Array {
  const usual = mean(flows);
  return flows.map((each) => each / usual);
}

/** Mean of each zone's replicas, in parts of the mean of all. */
export function zoneLoads(second: Second): number[] {
  const loads = relative(second);
  return zones.map((_, zone) => mean(loads.filter((_, i) => zoneOfReplica(i) === zone)));
}

export function spreadOf(second: Second): number {
  return Math.max(...zoneLoads(second).map((load) => Math.abs(load - 1)));
}

function crossing(seconds: readonly Second[]): number {
  const sum = (of: (second: Second) => number): number =>
    seconds.reduce((all, second) => all + of(second), 0);
  return sum((second) => second.crossing) / sum(({ total }) => total);
}

function newAtFirst({ begun, total }: Second): number {
  return ((begun[0] as number) * begun.length) / total;
}

/** Means of so many neighbours each. */
function running(values: readonly number[], width: number): number[] {
  return values.slice(width - 1).map((_, i) => mean(values.slice(i, i + width)));
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}
