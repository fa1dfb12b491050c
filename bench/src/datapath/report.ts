/** The closing tables and the JSON. */
import { promiseTable } from '../promises.js';
import { table } from '../table.js';
import type { Spread } from '../statistics.js';
import { flowCounts, type ApplyResult } from './apply-cost.js';
import { columns } from './cycle.js';
import type { NetworkResult } from './network-cost.js';
import { ruleCounts, type Cost, type PerPacketNs } from './packet-cost.js';
import { promises, type Results } from './promises.js';
import { variants } from './variants.js';

export function tables(results: Results): string {
  return [
    ...(results.packet === undefined ? [] : [packetTable(results.packet)]),
    ...(results.network === undefined ? [] : networkTables(results.network)),
    ...(results.apply === undefined ? [] : [applyTable(results.apply)]),
    promiseTable(promises(results)),
  ].join('\n\n');
}

/** The keys that issue 3 names; `details` has the extremes and what else was seen. */
export function json(results: Results, rounds: number): object {
  const { packet = {}, network, apply } = results;
  return {
    perPacketNs: packet,
    throughputRatio: network?.throughputRatio ?? {},
    latencyRatio: network?.latencyRatio ?? {},
    applyMs: apply?.applyMs ?? {},
    details: {
      rounds,
      ...(network && {
        gigabitsPerSecond: network.gigabitsPerSecond,
        roundTripMicroseconds: network.roundTripMicroseconds,
      }),
      ...(apply && { applyMs: apply.spreads, attachMs: apply.attachMs, firstApplyMs: apply.firstApplyMs }),
    },
    promises: promises(results),
  };
}

const withExtremes = ({ median, min, max }: Spread): string => `${median} (${min} to ${max})`;

function packetTable(packet: PerPacketNs): string {
  const cost = (value: Cost | undefined): string =>
    value === undefined ? '-' : `+${value.overEmpty}  ${withExtremes(value)}`;
  const rows = columns.flatMap((column) => [
    [column, 'empty program', withExtremes(packet[column].empty), ''],
    ...ruleCounts.flatMap((rules) => {
      const costs = packet[column].rules[String(rules)];
      const label = `${rules.toLocaleString('en')} rule${rules === 1 ? '' : 's'}`;
      return [
        [column, `miss, ${label}`, cost(costs?.missHot), cost(costs?.missCold)],
        [column, `translation, ${label}`, cost(costs?.translationHot), cost(costs?.translationCold)],
      ];
    }),
  ]);
  return `Nanoseconds per packet: over the empty program, then in all (least to most)\n${table([['', '', 'hot', 'cold'], ...rows])}`;
}

function networkTables(network: NetworkResult): string[] {
  const { gigabitsPerSecond: speed, roundTripMicroseconds: trip, throughputRatio, latencyRatio } = network;
  const row = (measured: Record<string, Spread>, ratios: Record<string, unknown>): string[][] =>
    variants.map((name) => [
      name,
      withExtremes(measured[name] as Spread),
      name === 'native' ? '1' : String(ratios[name]),
    ]);
  const one = (title: string, unit: string, rows: string[][]): string =>
    `${title}\n${table([['', unit, 'of native'], ...rows])}`;
  return [
    one('TCP throughput, one stream', 'Gbit/s', row(speed.oneStream, { ...throughputRatio })),
    one('TCP throughput, eight streams', 'Gbit/s', row(speed.eightStreams, throughputRatio.eightStreams)),
    one('Request and response, 64 bytes: median round trip', 'us', row(trip.median, { ...latencyRatio })),
    one('Request and response, 64 bytes: 99th percentile', 'us', row(trip.p99, latencyRatio.p99)),
  ];
}

function applyTable({ spreads, attachMs, firstApplyMs }: ApplyResult): string {
  const rows = flowCounts.map((count) => [
    count.toLocaleString('en'),
    ...(['apply', 'switch', 'remove'] as const).map((operation) =>
      withExtremes(spreads[operation][count] as Spread),
    ),
  ]);
  return [
    'Flows applied, switched and removed, ms',
    table([['flows', 'apply', 'switch', 'remove'], ...rows]),
    `Not in these: loading and attaching a pod's programs, ${withExtremes(attachMs)} ms. The first 10,000 flows of the process took ${firstApplyMs} ms.`,
  ].join('\n');
}
