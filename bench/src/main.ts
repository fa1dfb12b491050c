/** `npm run bench -- datapath`: see options.ts for the usage. */
import { writeFileSync } from 'node:fs';
import { measureApply } from './datapath/apply-cost.js';
import { measureNetwork } from './datapath/network-cost.js';
import { measurePackets } from './datapath/packet-cost.js';
import { promises, type Results } from './datapath/promises.js';
import { json, tables } from './datapath/report.js';
import { help, parseOptions, UsageError, type Options } from './options.js';
import { Workspace } from './workspace.js';

const started = performance.now();

function progress(line: string): void {
  console.error(`[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${line}`);
}

/** The parts don't disturb each other: each has what it needs only while it runs. */
async function measure({ only, rounds }: Options): Promise<Results> {
  const results: Results = {};
  // First, so that the very first flows meet a process that has run nothing yet, as an agent's do.
  if (only.includes('apply'))
    results.apply = await inWorkspace((workspace) => measureApply(workspace, rounds, progress));
  if (only.includes('packet'))
    results.packet = await inWorkspace((workspace) => measurePackets(workspace, rounds, progress));
  if (only.includes('network'))
    results.network = await inWorkspace((workspace) => measureNetwork(workspace, rounds, progress));
  return results;
}

/** The workspace is taken away however the work ends; a signal ends the process afterwards. */
async function inWorkspace<Result>(work: (workspace: Workspace) => Promise<Result>): Promise<Result> {
  const workspace = await Workspace.open();
  const leave = (signal: NodeJS.Signals): void => {
    progress(`${signal}: cleaning up`);
    void workspace.close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    return await work(workspace);
  } finally {
    process.off('SIGINT', leave).off('SIGTERM', leave);
    await workspace.close();
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    console.log(help);
    return 0;
  }
  const results = await measure(options);
  console.log(tables(results));
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify(json(results, options.rounds), undefined, 2)}\n`);
  const missed = promises(results).filter((promise) => !promise.kept);
  return options.check && missed.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = error instanceof UsageError;
  console.error(isUsage ? `bench: ${error.message}\n\n${help}` : `bench: ${(error as Error).message}`);
  process.exitCode = isUsage ? 2 : 1;
}
