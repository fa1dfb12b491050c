/** `npm run bench -- services`: see options.ts for the usage. */
import type { Bench } from '../bench.js';
import { writeJson } from '../options.js';
import { isMissed } from '../promises.js';
import { withWorkspace } from '../workspace.js';
import { measure } from './measure.js';
import { help, parseOptions } from './options.js';
import { promises } from './promises.js';
import { json, tables } from './report.js';

export const servicesBench: Bench = {
  summary: 'connections to services by name, beside kube-proxy, and how fast they are programmed',
  help,
  async run(args, progress) {
    const options = parseOptions(args);
    const results = await withWorkspace((workspace) => measure(workspace, options, progress), progress);
    console.log(tables(results));
    writeJson(options.json, json(results, options.rounds));
    return options.check && promises(results).some(isMissed) ? 1 : 0;
  },
};
