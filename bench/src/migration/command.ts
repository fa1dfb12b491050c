/** `npm run bench -- migration`: see options.ts for the usage. */
import { moverReady } from '@serval/node-agent';
import type { Bench, Progress } from '../bench.js';
import { writeJson } from '../options.js';
import { isMissed } from '../promises.js';
import type { Load } from './load.js';
import { iperf3 } from './loads/iperf3.js';
import { ssh } from './loads/keystrokes.js';
import { redis } from './loads/redis.js';
import { measureLoad } from './measure.js';
import { help, parseOptions, type Options } from './options.js';
import { promises, type Results } from './promises.js';
import { json, tables } from './report.js';
import type { Stage } from './stage.js';
import { measureSwitch } from './switch.js';

const loads: readonly Load[] = [redis(1), redis(100), redis(10_000), iperf3, ssh];
const switchedFlows = [10_000, 100_000];

export const migrationBench: Bench = {
  summary: 'what a move costs the clients of a workload, and how fast many flows switch',
  help,
  async run(args, progress) {
    const options = parseOptions(args);
    await moverReady();
    const results = await measure(options, progress);
    console.log(tables(results));
    writeJson(options.json, json(results));
    return options.check && promises(results).some(isMissed) ? 1 : 0;
  },
};

async function measure({ only, moves, rounds }: Options, progress: Progress): Promise<Results> {
  const results: Results = { runs: [], switch: [] };
  let current: Stage | undefined;
  const onStage = (stage: Stage): void => void (current = stage);
  const leave = (signal: NodeJS.Signals): void => {
    progress(`${signal}: cleaning up`);
    void Promise.resolve(current?.remove()).finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    for (const load of loads)
      if (only.some((name) => name === load.name))
        results.runs.push(await measureLoad(load, moves, progress, onStage));
    if (only.includes('switch'))
      for (const flows of switchedFlows)
        results.switch.push(await measureSwitch(flows, rounds, progress, onStage));
    return results;
  } finally {
    process.off('SIGINT', leave).off('SIGTERM', leave);
  }
}
