/** The closing tables and the JSON. */
import { promiseTable } from '../promises.js';
import { table } from '../table.js';
import type { ProgramResult, Results, SizeResult } from './measure.js';
import { promises } from './promises.js';
import { ways, type Way } from './variant.js';

export function tables(results: Results): string {
  const promised = promises(results);
  return [
    ...(results.sizes.length === 0
      ? []
      : [connectTable(results), rateTable(results), directTable(results.sizes)]),
    ...(results.program === undefined ? [] : [programTable(results.program)]),
    madeBy(results),
    ...(promised.length === 0 ? [] : [promiseTable(promised)]),
  ].join('\n\n');
}

/** The keys that issue 5 names; `program` has the SAL's figures; `details` what else was seen. */
export function json(results: Results, rounds: number): object {
  const { sizes, program, by } = results;
  const sal = program?.costs.sal;
  return {
    sizes: sizes.map(({ services, connectUs, connectionsPerSecond }) => ({
      services,
      connectUs,
      connectionsPerSecond,
    })),
    program: {
      ...(program && { services: program.services, endpoints: program.endpoints }),
      ...(sal && {
        fullMs: sal.fullMs,
        oneChangeMs: sal.oneChangeMs,
        agentRssMb: sal.memory.processMb,
        mapsMb: sal.memory.mapsMb,
      }),
    },
    details: { rounds, by, sizes, ...(program && { program: program.costs }) },
    promises: promises(results),
  };
}

const sizeName = (services: number): string => services.toLocaleString('en');

function measuredWays({ by }: Results): Way[] {
  return ways.filter((way) => by[way] !== undefined);
}

function bySize(results: Results, cell: (size: SizeResult, way: Way) => string): string {
  const columns = measuredWays(results);
  const rows = results.sizes.map((size) => [
    sizeName(size.services),
    ...columns.map((way) => cell(size, way)),
  ]);
  return table([['services', ...columns], ...rows]);
}

function connectTable(results: Results): string {
  const cell = ({ connectUs, overDirectUs }: SizeResult, way: Way): string => {
    const over = overDirectUs[way];
    const sign = over !== undefined && over >= 0 ? '+' : '';
    return `${connectUs[way] ?? '-'}${over === undefined ? '' : ` (${sign}${over})`}`;
  };
  return `connect(), median, us (over direct in the same turn)\n${bySize(results, cell)}`;
}

function rateTable(results: Results): string {
  const cell = ({ connectionsPerSecond, ofDirect }: SizeResult, way: Way): string =>
    `${connectionsPerSecond[way]?.toLocaleString('en') ?? '-'}${ofDirect[way] === undefined ? '' : ` (${ofDirect[way]})`}`;
  return `Connections per second (of direct in the same turn)\n${bySize(results, cell)}`;
}

/** Both ways to measure direct: one is the base of all comparisons. */
function directTable(sizes: readonly SizeResult[]): string {
  const rows = sizes.map(({ services, direct: { among, alone } }) => [
    sizeName(services),
    ...[among.connectUs, alone?.connectUs, among.connectionsPerSecond, alone?.connectionsPerSecond].map(
      (value) => value?.toLocaleString('en') ?? '-',
    ),
  ]);
  return [
    "Direct: in turns with the others, and in bursts of its own before the SAL's programs were in the kernel",
    table([['services', 'us, in turns', 'us, before', 'per s, in turns', 'per s, before'], ...rows]),
    'The first is the base where they differ by less than 2 %, else the better one.',
  ].join('\n');
}

function programTable({ services, endpoints, costs }: ProgramResult): string {
  const mb = (value: number | undefined): string => (value === undefined ? '-' : String(value));
  const rows = ways.flatMap((way) => {
    const cost = costs[way];
    if (cost === undefined) return [];
    const { fullMs, oneChangeMs, all, memory } = cost;
    return [
      [
        way,
        `${fullMs} (${all.fullMs.length})`,
        `${oneChangeMs} (${all.oneChangeMs.length})`,
        mb(memory.processMb),
        mb(memory.mapsMb),
      ],
    ];
  });
  return [
    `${sizeName(services)} services, ${endpoints.toLocaleString('en')} endpoints: time until clients see it, ms, median (of how many)`,
    table([['', 'from nothing', 'one change', 'process, MB', 'maps, MB'], ...rows]),
  ].join('\n');
}

function madeBy(results: Results): string {
  return measuredWays(results)
    .map((way) => `${way}: ${results.by[way]}`)
    .join('\n');
}
