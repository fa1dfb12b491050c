/** `npm run bench -- simulation`: see options.ts for the usage. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench, Progress } from '../bench.js';
import { writeJson } from '../options.js';
import { isMissed } from '../promises.js';
import { figuresOf, type Figures } from './figures.js';
import { help, parseOptions } from './options.js';
import { plot } from './plot.js';
import { promises, type Result } from './promises.js';
import { json, tables } from './report.js';
import { simulate } from './run.js';
import { scenarios } from './scenarios.js';
import { strategyNames } from './strategy.js';
import type { Scenario } from './world.js';

export const simulationBench: Bench = {
  summary: 'who gets how many flows of a service, as loads change (simulated)',
  help,
  run(args, progress) {
    const options = parseOptions(args);
    const results = scenarios
      .filter(({ name }) => options.only.includes(name))
      .map((scenario) => simulated(scenario, options.svg, progress));
    console.log(tables(results));
    writeJson(options.json, json(results));
    return Promise.resolve(options.check && promises(results).some(isMissed) ? 1 : 0);
  },
};

function simulated(scenario: Scenario, folder: string | undefined, progress: Progress): Result {
  progress(scenario.title);
  const runs = strategyNames.map((strategy) => simulate(scenario, strategy));
  if (folder !== undefined) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${scenario.name}.svg`), plot(runs));
  }
  const [serval, zone, random] = runs.map(figuresOf) as [Figures, Figures, Figures];
  return { scenario, figures: { serval, zone, random } };
}
