/** The closing tables and the JSON. */
import { promiseTable } from '../promises.js';
import { table } from '../table.js';
import { slowMs, type CutResult } from './cut.js';
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
    ...(measuredWays(results).length === 0 ? [] : [madeBy(results)]),
    ...(results.cut === undefined ? [] : [cutTable(results.cut)]),
    ...(promised.length === 0 ? [] : [promiseTable(promised)]),
  ].join('\n\n');
}

/** The keys that issue 5 names; `program` has the SAL's figures; `cut` what each way's client saw; `details` what else was seen. */
export function json(results: Results, rounds: number): object {
  const { sizes, program, cut, by } = results;
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
        ...(sal.idle && { idleCpuPercent: sal.idle.cpuPercent, idleRssMb: sal.idle.residentMb }),
      }),
    },
    ...(cut && { cut: cut.ways }),
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
    const { fullMs, oneChangeMs, all, memory, idle } = cost;
    return [
      [
        way,
        `${fullMs} (${all.fullMs.length})`,
        `${oneChangeMs} (${all.oneChangeMs.length})`,
        mb(memory.processMb),
        mb(memory.mapsMb),
        mb(idle?.cpuPercent),
        mb(idle?.residentMb),
      ],
    ];
  });
  return [
    `${sizeName(services)} services, ${endpoints.toLocaleString('en')} endpoints: time until clients see it, ms, median (of how many)`,
    table([
      ['', 'from nothing', 'one change', 'process, MB', 'maps, MB', 'idle: CPU, %', 'process, MB'],
      ...rows,
    ]),
  ].join('\n');
}

function cutTable({ ways: seen, cutMs, rate }: CutResult): string {
  const rows = ways.flatMap((way) => {
    const one = seen[way];
    if (one === undefined) return [];
    const { attempts, failed, over, medianMs, slowestMs } = one;
    return [[way, ...[attempts, failed, over, medianMs, slowestMs].map(String)]];
  });
  return [
    `One of two hosts with five replicas each is cut off for ${cutMs / 1000} s; ${rate} connects per second`,
    table([['', 'connects', 'failed', `over ${slowMs} ms`, 'median, ms', 'slowest, ms'], ...rows]),
    'Endpoints stay as they are meanwhile: a control plane takes longer to notice (40 to 50 s by default in Kubernetes).',
    ...ways.flatMap((way) => (seen[way] === undefined ? [] : [`${way}: ${seen[way].by}`])),
  ].join('\n');
}

function madeBy(results: Results): string {
  return measuredWays(results)
    .map((way) => `${way}: ${results.by[way]}`)
    .join('\n');
}
