/** From the samples of bursts to figures that can be compared. */
import { medianRatio, overBase, rounded, roundedSpread, spread, type Spread } from '../statistics.js';
import type { Samples, SamplesByWay } from './bursts.js';
import { ways, type Way } from './variant.js';

export type ByWay = Partial<Record<Way, number>>;

export interface Comparison {
  services: number;
  /** what connect() takes, us */
  connectUs: ByWay;
  connectionsPerSecond: ByWay;
  /** of the same turn's direct */
  overDirectUs: ByWay;
  ofDirect: ByWay;
  /** us, 99th percentile of a burst, median of the bursts */
  connectP99Us: ByWay;
  spreads: { connectUs: Partial<Record<Way, Spread>>; connectionsPerSecond: Partial<Record<Way, Spread>> };
  /** Direct, with the SAL's programs in the kernel (which do not know its pod), and in bursts before they were there. */
  direct: { among: Direct; alone?: Direct };
}

interface Direct {
  connectUs: number;
  connectionsPerSecond: number;
}

/** As much of a difference between two ways to measure direct is chance. */
const chance = 0.02;

/**
 * @param among bursts that took turns
 * @param alone direct before any program of the SAL was attached, where there is a SAL
 */
export function compare(services: number, among: SamplesByWay, alone: Samples | undefined): Comparison {
  const direct = among.direct;
  if (direct === undefined) throw new RangeError('direct was not measured');
  const figures = { among: medians(direct), ...(alone === undefined ? {} : { alone: medians(alone) }) };
  const base = {
    connectUs: baseOf(figures.among.connectUs, figures.alone?.connectUs, Math.min),
    connectionsPerSecond: baseOf(
      figures.among.connectionsPerSecond,
      figures.alone?.connectionsPerSecond,
      Math.max,
    ),
  };
  const each = <Value>(value: (samples: Samples, way: Way) => Value): Partial<Record<Way, Value>> =>
    Object.fromEntries(
      ways.flatMap((way) => {
        const samples = among[way];
        return samples === undefined ? [] : [[way, value(samples, way)]];
      }),
    );
  const others = <Value>(value: (samples: Samples) => Value): Partial<Record<Way, Value>> => {
    const all = each(value);
    delete all.direct;
    return all;
  };
  const slower = figures.among.connectUs - base.connectUs;
  const part = figures.among.connectionsPerSecond / base.connectionsPerSecond;
  return {
    services,
    connectUs: each(({ connectUs }, way) =>
      rounded(way === 'direct' ? base.connectUs : spread(connectUs).median, 2),
    ),
    connectionsPerSecond: each(({ connectionsPerSecond }, way) =>
      Math.round(way === 'direct' ? base.connectionsPerSecond : spread(connectionsPerSecond).median),
    ),
    overDirectUs: others(({ connectUs }) =>
      rounded(overBase(connectUs, direct.connectUs).median + slower, 2),
    ),
    ofDirect: others(({ connectionsPerSecond }) =>
      rounded(medianRatio(connectionsPerSecond, direct.connectionsPerSecond) * part, 3),
    ),
    connectP99Us: each(({ connectP99Us }) => rounded(spread(connectP99Us).median, 2)),
    spreads: {
      connectUs: each(({ connectUs }) => roundedSpread(spread(connectUs), 2)),
      connectionsPerSecond: each(({ connectionsPerSecond }) =>
        roundedSpread(spread(connectionsPerSecond), 0),
      ),
    },
    direct: figures,
  };
}

function medians({ connectUs, connectionsPerSecond }: Samples): Direct {
  return {
    connectUs: rounded(spread(connectUs).median, 2),
    connectionsPerSecond: Math.round(spread(connectionsPerSecond).median),
  };
}

/** Taken in turns it can be compared best; where the programs slow it down it is no base. */
function baseOf(
  among: number,
  alone: number | undefined,
  better: (one: number, other: number) => number,
): number {
  if (alone === undefined || Math.abs(among - alone) < chance * alone) return among;
  return better(among, alone);
}
