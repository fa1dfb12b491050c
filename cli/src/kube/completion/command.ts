/** The command `completion`, for people, and `__complete`, for shells and kubectl. */
import { Argument, type Command } from 'commander';
import type { Surroundings } from '../../surroundings.js';
import type { Cluster, OpenCluster } from '../cluster.js';
import {
  clusterOptionsOf,
  completerFor,
  completers,
  completionLines,
  placeOf,
  wordsFor,
  type Candidate,
  type Completer,
} from './complete.js';
import { scripts, shells, type Shell } from './scripts.js';

/** Somebody waits with a finger on a key. */
const patienceMs = 3_000;

export function addCompletion(program: Command, around: Surroundings): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'kubectl: the file kubectl_complete-serval').choices(shells))
    .description('Print what a shell reads to complete our words, with names from the cluster')
    .action((shell: Shell) => around.screen.write(scripts[shell]));
}

/**
 * What `__complete` prints for the words behind it, which are not parsed: they are not finished. Never fails; nothing is found
 * then. @param open undefined: names of a cluster are not asked for
 */
export async function complete(
  program: Command,
  words: readonly string[],
  around: Surroundings,
  open: OpenCluster | undefined,
): Promise<void> {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? '';
  const place = placeOf(program, before, current);
  const candidates = wordsFor(program, place);
  const completer = completerFor(completers, place);
  if (completer !== undefined && open !== undefined) {
    const asked = open(clusterOptionsOf(program, before), around.version).then((cluster) =>
      inTime(cluster, completer),
    );
    candidates.push(...(await asked.catch(() => [])));
  }
  const lines = completionLines(candidates, current);
  around.screen.write(lines.map((line) => `${line.replaceAll(/[\r\n]/g, ' ')}\n`).join(''));
}

/** Nothing, where the server takes its time. */
async function inTime(cluster: Cluster, completer: Completer): Promise<Candidate[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Candidate[]>((resolve) => (timer = setTimeout(() => resolve([]), patienceMs)));
  try {
    return await Promise.race([completer(cluster), late]);
  } finally {
    clearTimeout(timer);
    void cluster.close();
  }
}
