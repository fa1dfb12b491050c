/** The figures that issue 4 promises, against what was measured. */
import { atMost, type Promised } from '../promises.js';
import type { Run } from './measure.js';
import type { Switched } from './switch.js';

export interface Results {
  runs: Run[];
  switch: Switched[];
}

/** Longest switch by the number of flows, ms. */
const switchLimits: Readonly<Record<number, number>> = { 10_000: 50, 100_000: 500 };

export function promises(results: Results): Promised[] {
  return [
    ...results.runs.flatMap(runPromises),
    ...results.switch.map(({ flows, ms }) =>
      atMost(`${flows.toLocaleString('en')} flows switched`, ms, switchLimits[flows] ?? 0, 'ms'),
    ),
  ];
}

function runPromises(run: Run): Promised[] {
  const { load, gapOverFreezeMs, newcomerMs, recoveryMs } = run;
  return [
    atMost(`${load}: client gap over the freeze, median`, gapOverFreezeMs.p50, 5, 'ms'),
    atMost(`${load}: client gap over the freeze, p99`, gapOverFreezeMs.p99, 20, 'ms'),
    ...(newcomerMs === undefined
      ? []
      : [
          atMost(
            `${load}: opened in the freeze, established after the switch, p99`,
            newcomerMs.p99,
            20,
            'ms',
          ),
        ]),
    ...(recoveryMs === undefined
      ? []
      : [atMost(`${load}: back at 90 % of its rate, p99`, recoveryMs.p99, 100, 'ms')]),
    atMost(`${load}: resets`, run.resets, 0, ''),
    atMost(`${load}: wrong bytes or replies`, run.wrongBytes, 0, ''),
    atMost(`${load}: moves rolled back`, run.rolledBack.length, 0, ''),
  ];
}
