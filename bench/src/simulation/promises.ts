/** What is promised of the simulation. */
import { atMost, type Promised } from '../promises.js';
import { rounded } from '../statistics.js';
import type { Figures } from './figures.js';
import type { StrategyName } from './strategy.js';
import type { Scenario } from './world.js';

export interface Result {
  scenario: Scenario;
  figures: Record<StrategyName, Figures>;
}

export function promises(results: readonly Result[]): Promised[] {
  return results.flatMap(({ scenario, figures: { serval } }) => {
    const { name, flowSeconds } = scenario;
    const percent = (value: number): number => rounded(value * 100, 1);
    const stays = atMost(
      `${name}: flows that leave the zone at even load`,
      percent(serval.crossingBefore),
      0,
      '%',
    );
    const steady = [
      atMost(`${name}: spread at the end`, percent(serval.spreadLate), 20, '%'),
      atMost(`${name}: swing of what zone a keeps`, percent((serval.keptHigh - serval.keptLow) / 2), 10, '%'),
    ];
    if (name.startsWith('busy')) {
      // What lasts for a minute can't be moved in ten seconds: there the zone was not far off in the first place.
      const quick = atMost(`${name}: spread within 20 % after`, serval.settledAfter, 10, 's');
      return flowSeconds <= 5 ? [stays, quick, ...steady] : [stays, ...steady];
    }
    if (name.startsWith('restart'))
      return [
        stays,
        atMost(`${name}: new flows to who is back, of its share`, percent(serval.firstNewPeak), 200, '%'),
      ];
    if (name.startsWith('slow'))
      return [
        stays,
        atMost(`${name}: load of the slow one at the end, of the mean`, percent(serval.firstLate), 130, '%'),
      ];
    return [stays, ...steady];
  });
}
