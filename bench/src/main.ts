/** `npm run bench -- NAME`: each bench has a folder, with its own options. */
import type { Bench } from './bench.js';
import { controlPlaneBench } from './control-plane/command.js';
import { datapathBench } from './datapath/command.js';
import { migrationBench } from './migration/command.js';
import { UsageError } from './options.js';
import { servicesBench } from './services/command.js';
import { simulationBench } from './simulation/command.js';

const benches = new Map<string, Bench>([
  ['control-plane', controlPlaneBench],
  ['datapath', datapathBench],
  ['migration', migrationBench],
  ['services', servicesBench],
  ['simulation', simulationBench],
]);

const usage = [
  'usage: npm run bench -- BENCH [options]',
  '',
  ...[...benches].map(([name, { summary }]) => `  ${name.padEnd(13)} ${summary}`),
  '',
  '`npm run bench -- BENCH --help` tells its options.',
].join('\n');

const started = performance.now();

function progress(line: string): void {
  console.error(`[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${line}`);
}

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const bench = benches.get(name);
  if (args.includes('--help') || name === '--help') {
    console.log(bench?.help ?? usage);
    return 0;
  }
  if (bench === undefined) {
    const reason = `say what to measure: ${[...benches.keys()].join(' or ')}`;
    console.error(`bench: ${reason}\n\n${usage}`);
    return 2;
  }
  try {
    return await bench.run(args, progress);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    console.error(`bench: ${(error as Error).message}${isUsage ? `\n\n${bench.help}` : ''}`);
    return isUsage ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
