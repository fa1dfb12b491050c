/** One scenario as a picture: a column for each strategy, loads above, flows that leave their zone below. */
import { quantile } from '../statistics.js';
import { relative, zoneLoads } from './figures.js';
import type { Run, Second } from './run.js';
import { eventAt } from './scenarios.js';
import type { StrategyName } from './strategy.js';
import { svg, type Panel, type Series } from './svg.js';
import { zones } from './world.js';

export const strategyTitles: Readonly<Record<StrategyName, string>> = {
  serval: 'Serval: locality Prefer, LeastLoad',
  zone: 'topology-aware: all within the zone',
  random: 'random: anybody',
};

const percent = (value: number): string => `${Math.round(value * 100)} %`;

export function plot(runs: readonly Run[]): string {
  const [{ scenario }] = runs as [Run];
  const title = `${scenario.title}; load of a replica, in parts of the mean, and flows that leave their zone`;
  return svg(title, [runs.map(loads), runs.map(crossing)]);
}

/** To whom something happens in the scenario. */
function hasFirst({ scenario }: Run): boolean {
  const isOther = (time: number): boolean => scenario.slowness(0, time) !== 1 || !scenario.isUp(0, time);
  return isOther(eventAt + 1);
}

function loads(run: Run): Panel {
  const { seconds } = run;
  const sorted = seconds.map((second) => relative(second).sort());
  const series = zones.map((zone, i): Series => {
    const values = seconds.map((second) => zoneLoads(second)[i] as number);
    return { look: zone, label: `zone ${zone}`, values };
  });
  const first = seconds.map((second) => relative(second)[0] as number);
  return {
    title: strategyTitles[run.strategy],
    ...axis(seconds),
    series: hasFirst(run) ? [...series, { look: 'first', label: 'that replica', values: first }] : series,
    band: {
      label: '90 % of all replicas',
      low: sorted.map((values) => quantile(values, 0.05)),
      high: sorted.map((values) => quantile(values, 0.95)),
    },
    limits: [0.8, 1.2],
    from: 0,
    to: hasFirst(run) ? 3 : 2,
    ticks: hasFirst(run) ? [0, 1, 2, 3] : [0, 0.5, 1, 1.5, 2],
    format: String,
  };
}

function crossing({ seconds }: Run): Panel {
  return {
    title: 'flows that leave their zone',
    ...axis(seconds),
    series: [
      {
        look: 'flows',
        label: 'flows that leave their zone',
        values: seconds.map((second) => second.crossing / second.total),
      },
    ],
    from: 0,
    to: 0.8,
    ticks: [0, 0.2, 0.4, 0.6, 0.8],
    format: percent,
  };
}

function axis(seconds: readonly Second[]): Pick<Panel, 'times' | 'eventAt'> {
  return { times: seconds.map(({ time }) => time), eventAt };
}
