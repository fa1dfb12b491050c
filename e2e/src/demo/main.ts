/** `npm run demo`: see scenario.ts for what happens, report.ts for what it ends with. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ServalError } from '@serval/api';
import { moverReady } from '@serval/node-agent';
import { Progress } from './progress.js';
import { missedTimes, renderTable, toJson, verdict } from './report.js';
import { runScenario } from './scenario.js';
import {
  renderPromises,
  renderServed,
  servicesJson,
  servicesMissedTimes,
  servicesVerdict,
} from './services/report.js';
import { runServices } from './services/story.js';
import { World } from './world.js';

const usage = `usage: npm run demo -- [--json FILE] [--connections N]

Moves a real redis-server with its client connections between two subnets, first without Serval, then with it, there
and back, and shows what the clients saw. Then clients connect to the name of a service with six replicas in three
sites: one site gets too many of them, one replica is killed, one is moved.

  --json FILE       write the result to FILE as well
  --connections N   client connections to redis-server (default 200, at least 20)
  --help            this text

Exit codes: 0 all promises kept, 1 a connection was harmed or a failure, 2 wrong usage, 3 nothing was harmed, but a
client waited for longer than promised, or load was not spread in time (on a busy machine it is so).`;

interface Options {
  json: string | undefined;
  connections: number;
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: { json: { type: 'string' }, connections: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help) return undefined;
  const connections = Number(values.connections ?? 200);
  if (!Number.isInteger(connections) || connections < 20 || connections > 5000)
    throw new TypeError(`--connections ${values.connections}: give a whole number from 20 to 5000`);
  return { json: values.json, connections };
}

async function run(options: Options): Promise<number> {
  const progress = new Progress();
  await moverReady();
  const world = await progress.run('a data centre of three sites in network namespaces', () => World.build());
  try {
    const results = await runScenario(world, progress, { connections: options.connections, warmUpMs: 2000 });
    console.log(['', ...renderTable(results)].join('\n'));
    await progress.run('end what has run', () => world.clear());
    const services = await runServices(world.lab, world.fleet, progress);
    progress.close();
    console.log(['', ...renderServed(services), '', ...renderPromises(services), ''].join('\n'));
    if (options.json !== undefined) {
      const json = { ...toJson(results), services: servicesJson(services) };
      writeFileSync(options.json, `${JSON.stringify(json, null, 2)}\n`);
    }
    const broken = [...verdict(results), ...servicesVerdict(services)];
    const late = [...missedTimes(results), ...servicesMissedTimes(services)];
    for (const line of [...broken, ...late]) console.log(`MISSED: ${line}`);
    if (broken.length + late.length === 0) console.log('Every promise was kept.');
    if (broken.length > 0) return 1;
    return late.length > 0 ? 3 : 0;
  } finally {
    progress.close();
    await world.remove();
  }
}

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = readOptions();
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options === undefined) {
    console.log(usage);
    return 0;
  }
  try {
    return await run(options);
  } catch (error) {
    console.error(error instanceof ServalError ? `demo: ${error.message}` : error);
    if (error instanceof ServalError && Object.keys(error.details).length > 0) console.error(error.details);
    return 1;
  }
}

process.exitCode = await main();
