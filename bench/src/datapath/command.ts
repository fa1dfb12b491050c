/** `npm run bench -- datapath`: see options.ts for the usage. */
import type { Bench, Progress } from '../bench.js';
import { writeJson } from '../options.js';
import { isMissed } from '../promises.js';
import { withWorkspace, type Workspace } from '../workspace.js';
import { measureApply } from './apply-cost.js';
import { measureNetwork } from './network-cost.js';
import { help, parseOptions, type Options } from './options.js';
import { measurePackets } from './packet-cost.js';
import { promises, type Results } from './promises.js';
import { json, tables } from './report.js';

export const datapathBench: Bench = {
  summary: 'what the data plane costs a packet, a connection and an agent',
  help,
  async run(args, progress) {
    const options = parseOptions(args);
    const results = await measure(options, progress);
    console.log(tables(results));
    writeJson(options.json, json(results, options.rounds));
    return options.check && promises(results).some(isMissed) ? 1 : 0;
  },
};

/** The parts don't disturb each other: each has what it needs only while it runs. */
async function measure({ only, rounds }: Options, progress: Progress): Promise<Results> {
  const results: Results = {};
  const inWorkspace = <Result>(work: (workspace: Workspace) => Promise<Result>): Promise<Result> =>
    withWorkspace(work, progress);
  // First, so that the very first flows meet a process that has run nothing yet, as an agent's do.
  if (only.includes('apply'))
    results.apply = await inWorkspace((workspace) => measureApply(workspace, rounds, progress));
  if (only.includes('packet'))
    results.packet = await inWorkspace((workspace) => measurePackets(workspace, rounds, progress));
  if (only.includes('network'))
    results.network = await inWorkspace((workspace) => measureNetwork(workspace, rounds, progress));
  return results;
}
