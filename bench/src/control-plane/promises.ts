/** What is promised of the control plane. */
import { atMost, type Promised } from '../promises.js';
import { rounded } from '../statistics.js';
import type { GrowthResult } from './growth.js';
import type { InterruptionResult } from './interruption.js';
import type { LatencyResult } from './latency.js';
import type { Results } from './measure.js';
import type { StartResult } from './start.js';

/** Of one event: what its size has to do with it may be lost in the noise of so many. */
const flat = 1.5;

export function promises(results: Results): Promised[] {
  const { first, again, latency, growth, interruptions } = results;
  return [
    ...(first === undefined ? [] : startPromises(first, 'every Service to be made')),
    ...(again === undefined ? [] : startPromises(again, 'every Service made')),
    ...(latency === undefined ? [] : latencyPromises(latency)),
    ...growthPromises(growth),
    ...interruptions.flatMap(interruptionPromises),
  ];
}

function startPromises({ services, reconciledMs, peakMb }: StartResult, how: string): Promised[] {
  const label = `${services} services, ${how}`;
  return [
    atMost(`operator's cold start, ${label}`, reconciledMs, 20_000, 'ms'),
    atMost(`operator's memory at its most, ${label}`, peakMb, 300, 'MB'),
  ];
}

function latencyPromises({ becameReady, isToEnd }: LatencyResult): Promised[] {
  return [
    atMost("from a ready pod to a node's kernel, median", becameReady.whole.p50, 200, 'ms'),
    atMost("from a pod that is to end to a node's kernel, median", isToEnd.whole.p50, 200, 'ms'),
  ];
}

function growthPromises(growth: readonly GrowthResult[]): Promised[] {
  const [least, ...more] = growth;
  if (least === undefined) return [];
  const sum = ({ requests }: GrowthResult): number =>
    Object.values(requests).reduce((all, each) => all + each, 0);
  return [
    ...more.flatMap((each) => {
      const label = `of one event, ${each.services} services over ${least.services}`;
      return [
        atMost(`operator's processor time ${label}`, ratio(each, least), flat, ''),
        atMost(`requests ${label}`, rounded(sum(each) / sum(least), 2), 1.1, ''),
      ];
    }),
    ...growth.map(({ services, lists }) =>
      atMost(`LISTs while there are events, ${services} services`, ownLists(lists), 0, ''),
    ),
  ];
}

/** By the clock of the control: a machine that is slower at the moment is slower at both. */
export function ratio(one: GrowthResult, least: GrowthResult): number {
  return rounded(one.operatorMs / one.controlMs / (least.operatorMs / least.controlMs), 2);
}

function ownLists(lists: Record<string, number>): number {
  const own = Object.entries(lists).filter(([name]) =>
    /serval|services|endpointslices|pods|nodes|events/.test(name),
  );
  return own.reduce((sum, [, times]) => sum + times, 0);
}

function interruptionPromises({
  how,
  seconds,
  changed,
  convergedMs,
  lists,
  stores,
}: InterruptionResult): Promised[] {
  const label = `the API server ${how === 'gone' ? 'gone' : 'hanging'} for ${seconds} s`;
  return [
    atMost(`agents' tables that change, ${label}`, changed, 0, ''),
    atMost(`until all is as it should be again, ${label}`, convergedMs, 60_000, 'ms'),
    // Four kinds each; the API server and Kubernetes' controllers list some of them too.
    atMost(`LISTs in the first 5 s after it, ${stores} agents, ${label}`, lists, stores * 4 + 20, ''),
  ];
}
