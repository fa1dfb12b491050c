/** The figures as tables for people, and as JSON. */
import { promiseTable } from '../promises.js';
import { rounded } from '../statistics.js';
import { table } from '../table.js';
import type { Figures } from './figures.js';
import { promises, type Result } from './promises.js';
import { strategyNames } from './strategy.js';

const percent = (value: number): string => `${Math.round(value * 100)} %`;
const seconds = (value: number): string => (value === Infinity ? 'never' : `${value} s`);

const columns: ReadonlyArray<[string, (figures: Figures) => string]> = [
  ['spread, peak', ({ spreadPeak }) => percent(spreadPeak)],
  ['within 20 %', ({ settledAfter }) => seconds(settledAfter)],
  ['at the end', ({ spreadLate }) => percent(spreadLate)],
  ['cross before', ({ crossingBefore }) => percent(crossingBefore)],
  ['cross at end', ({ crossingLate }) => percent(crossingLate)],
  ['zone a keeps', ({ keptLow, keptHigh }) => `${percent(keptLow)} to ${percent(keptHigh)}`],
  ['first, peak', ({ firstPeak }) => percent(firstPeak)],
  ['first at end', ({ firstLate }) => percent(firstLate)],
  ['new to it', ({ firstNewPeak }) => percent(firstNewPeak)],
  ['failed', ({ failed }) => String(failed)],
];

export function tables(results: readonly Result[]): string {
  const parts = results.map(({ scenario, figures }) => {
    const rows = strategyNames.map((name) => [name, ...columns.map(([, cell]) => cell(figures[name]))]);
    return `${scenario.title}\n${table([['', ...columns.map(([title]) => title)], ...rows])}`;
  });
  return [...parts, promiseTable(promises(results))].join('\n\n');
}

export function json(results: readonly Result[]): object {
  return {
    scenarios: results.map(({ scenario, figures }) => ({
      name: scenario.name,
      replicas: scenario.replicas,
      flowSeconds: scenario.flowSeconds,
      figures: Object.fromEntries(strategyNames.map((name) => [name, roundedAll(figures[name])])),
    })),
    promises: promises(results),
  };
}

/** What never happened is null in JSON. */
function roundedAll(figures: Figures): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]: [string, number]) => [
      name,
      Number.isFinite(value) ? rounded(value, 4) : null,
    ]),
  );
}
