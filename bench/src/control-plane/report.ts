/** The figures as tables for people, and as JSON. */
import { promiseTable } from '../promises.js';
import { table } from '../table.js';
import type { GrowthResult } from './growth.js';
import type { InterruptionResult } from './interruption.js';
import type { LatencyResult, Parts } from './latency.js';
import type { Results } from './measure.js';
import { promises, ratio } from './promises.js';
import type { StartResult } from './start.js';

export function tables(results: Results): string {
  const { first, again, latency, growth, interruptions, pods, nodes } = results;
  return [
    `${pods} pods, ${nodes} nodes; EndpointSlices by Kubernetes' own controller`,
    startTable([
      ['every Service to be made', first],
      ['every Service made', again],
    ]),
    ...(latency === undefined ? [] : [latencyTable(latency)]),
    ...(growth.length === 0 ? [] : [growthTable(growth)]),
    ...(interruptions.length === 0 ? [] : [interruptionTable(interruptions)]),
    promiseTable(promises(results)),
  ].join('\n\n');
}

export function json(results: Results): object {
  return { ...results, promises: promises(results) };
}

function startTable(starts: ReadonlyArray<[string, StartResult | undefined]>): string {
  const rows = starts.flatMap(([what, start]) =>
    start === undefined
      ? []
      : [
          [
            what,
            start.services,
            start.readyMs,
            start.leadsMs,
            start.reconciledMs,
            start.processorMs,
            start.residentMb,
            start.peakMb,
          ].map(String),
        ],
  );
  return `The operator starts, ms and MB\n${table([
    ['', 'services', 'ready', 'leads', 'all reconciled', 'own processor time', 'resident', 'at most'],
    ...rows,
  ])}`;
}

function latencyTable({ becameReady, isToEnd }: LatencyResult): string {
  const row = (what: string, { whole, toSlice, toKernel }: Parts): string[] => [
    what,
    ...[whole, toSlice, toKernel].flatMap(({ p50, p99 }) => [p50, p99]).map(String),
  ];
  return `From a changed pod to the service table in the kernel of a node, ms: median and 99th percentile\n${table(
    [
      ['', 'whole', 'p99', 'to its EndpointSlice', 'p99', 'from there', 'p99'],
      row('becomes ready', becameReady),
      row('is to end', isToEnd),
    ],
  )}`;
}

function growthTable(growth: readonly GrowthResult[]): string {
  const [least] = growth;
  const rows = growth.map((each) => [
    String(each.services),
    String(each.operatorMs),
    least === undefined ? '-' : String(ratio(each, least)),
    String(each.agentMs),
    String(each.controlMs),
    Object.entries(each.requests)
      .map(([name, times]) => `${times} ${name}`)
      .join(', '),
    String(Object.values(each.lists).reduce((sum, times) => sum + times, 0)),
  ]);
  return `One event of one service: processor time, ms, and requests\n${table([
    ['services', 'operator', 'over the fewest', 'agent', 'control', 'requests', 'LISTs in all'],
    ...rows,
  ])}`;
}

function interruptionTable(interruptions: readonly InterruptionResult[]): string {
  const rows = interruptions.map((each) => [
    `${each.how} for ${each.seconds} s`,
    ...[each.stores, each.changed, each.operatorNoticed ? 'yes' : 'no'].map(String),
    ...[each.firstReturnedMs, each.returned.p50, each.returned.max, each.convergedMs, each.lists].map(String),
  ]);
  return `Outages, ms after the return\n${table([
    [
      'API server',
      'agents',
      'changed',
      'operator noticed',
      'first back',
      'median',
      'last',
      'all as it should be',
      'LISTs in 5 s',
    ],
    ...rows,
  ])}`;
}
