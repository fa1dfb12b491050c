/** `npm run bench -- control-plane`: see options.ts for the usage. */
import type { Bench } from '../bench.js';
import { writeJson } from '../options.js';
import { isMissed } from '../promises.js';
import { measure } from './measure.js';
import { help, parseOptions } from './options.js';
import { promises } from './promises.js';
import { json, tables } from './report.js';

export const controlPlaneBench: Bench = {
  summary: 'the operator and agents at scale, on a real API server, and through its outages',
  help,
  async run(args, progress) {
    const options = parseOptions(args);
    const results = await measure(options, progress);
    console.log(tables(results));
    writeJson(options.json, json(results));
    return options.check && promises(results).some(isMissed) ? 1 : 0;
  },
};
