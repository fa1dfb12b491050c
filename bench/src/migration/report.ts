/** The closing tables and the JSON. */
import { promiseTable } from '../promises.js';
import type { Percentiles } from '../statistics.js';
import { table } from '../table.js';
import type { Run } from './measure.js';
import { promises, type Results } from './promises.js';

export function tables(results: Results): string {
  return [
    ...(results.runs.length === 0 ? [] : [moveTable(results.runs), costTable(results.runs)]),
    ...(results.switch.length === 0 ? [] : [switchTable(results)]),
    promiseTable(promises(results)),
  ].join('\n\n');
}

/** The keys that issue 4 names, and then some. */
export function json(results: Results): object {
  return { ...results, promises: promises(results) };
}

const three = ({ p50, p99, max }: Percentiles): string => `${p50} / ${p99} / ${max}`;

function moveTable(runs: readonly Run[]): string {
  const head = [
    'load',
    'connections',
    'n',
    'freeze',
    'gap over freeze',
    'over a pause',
    'switch',
    'resets',
    'wrong',
  ];
  const rows = runs.map((run) => [
    run.load,
    run.working === run.connections ? String(run.connections) : `${run.connections} (${run.working} work)`,
    run.rolledBack.length === 0 ? String(run.n) : `${run.n} (${run.rolledBack.length} rolled back)`,
    three(run.freezeMs),
    three(run.gapOverFreezeMs),
    three(run.pauseGapMs),
    three(run.switchMs),
    String(run.resets),
    run.checksBytes ? String(run.wrongBytes) : '-',
  ]);
  return [
    'Moves, ms: median / p99 / longest',
    table([head, ...rows]),
    'over a pause: the same gap where the workload merely stood still for as long, in its place, after each move.',
  ].join('\n');
}

function costTable(runs: readonly Run[]): string {
  const head = ['load', 'mover', 'dump', 'transfer', 'restore', 'Serval', 'newcomer', 'at 90 %'];
  const rows = runs.map((run) => [
    run.load,
    three(run.moverMs),
    String(run.moverMs.dump.p50),
    String(run.moverMs.transfer.p50),
    String(run.moverMs.restore.p50),
    three(run.servalMs),
    run.newcomerMs === undefined ? '-' : three(run.newcomerMs),
    run.recoveryMs === undefined ? '-' : three(run.recoveryMs),
  ]);
  return [
    'What it is made of, ms: median / p99 / longest, dump to restore medians',
    table([head, ...rows]),
    'mover: dump, transfer, restore. Serval: the rest of the freeze, and what clients waited longer than it.',
    'newcomer: opened during the freeze, established so long after the switch.',
  ].join('\n');
}

function switchTable({ switch: all }: Results): string {
  const rows = all.map(({ flows, peers, spread, n, phasesMs }) => [
    flows.toLocaleString('en'),
    String(peers),
    String(n),
    three(spread),
    Object.entries(phasesMs)
      .map(([name, ms]) => `${name} ${ms}`)
      .join(', '),
  ]);
  const head = ['flows', 'peers', 'n', 'switch', 'phases, median'];
  return `Switches without a mover, ms: median / p99 / longest\n${table([head, ...rows])}`;
}
