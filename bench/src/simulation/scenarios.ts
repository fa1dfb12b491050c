/** The scenarios that are plotted, and that the promised figures are asserted of. */
import type { Scenario } from './world.js';

/** When something happens, s. */
export const eventAt = 10;

/** What a scenario is made of where nothing else is said. */
const plain: Omit<Scenario, 'name' | 'title' | 'replicas'> = {
  nodesPerZone: 12,
  flowSeconds: 5,
  flowsEach: 100,
  seconds: 80,
  reportDelay: 1,
  demand: () => 1,
  slowness: () => 1,
  isUp: () => true,
  isListed: () => true,
};

export function even(replicas: number): Scenario {
  return { ...plain, name: `even-${replicas}`, title: `${replicas} replicas, even load`, replicas };
}

/** Zone a's clients open twice as many flows from then on. */
export function busyZone(replicas: number, flowSeconds = plain.flowSeconds): Scenario {
  const isUsual = flowSeconds === plain.flowSeconds;
  return {
    ...plain,
    name: `busy-zone-${replicas}${isUsual ? '' : `-flows-of-${flowSeconds}-s`}`,
    title: `${replicas} replicas, zone a twice as busy${isUsual ? '' : `, flows of ${flowSeconds} s`}`,
    replicas,
    flowSeconds,
    seconds: Math.max(plain.seconds, eventAt + 2 * flowSeconds + lateSeconds),
    demand: (zone, time) => (zone === 0 && time >= eventAt ? 2 : 1),
  };
}

/** The first replica's flows last three times as long from then on. */
export function slowReplica(replicas: number): Scenario {
  return {
    ...plain,
    name: `slow-replica-${replicas}`,
    title: `${replicas} replicas, one three times as slow`,
    replicas,
    slowness: (replica, time) => (replica === 0 && time >= eventAt ? 3 : 1),
  };
}

export const restartSeconds = 6;
/** Until the endpoints say that it went, and that it is back. */
const [goneAfter, backAfter] = [2, 1];

/** The first replica loses all its flows and is gone for a moment. */
export function restart(replicas: number): Scenario {
  const backAt = eventAt + restartSeconds;
  return {
    ...plain,
    name: `restart-${replicas}`,
    title: `${replicas} replicas, one is restarted`,
    replicas,
    isUp: (replica, time) => replica !== 0 || time < eventAt || time >= backAt,
    isListed: (replica, time) => replica !== 0 || time < eventAt + goneAfter || time >= backAt + backAfter,
  };
}

/** At the end of each, s: what went on then is how it stays. */
export const lateSeconds = 40;

export const scenarios: readonly Scenario[] = [
  even(20),
  even(1_000),
  busyZone(20),
  busyZone(100),
  busyZone(1_000),
  busyZone(100, 0.5),
  busyZone(100, 60),
  slowReplica(20),
  restart(20),
  restart(1_000),
];
