/** The command `completion`, for people, and `__complete`, for shells and kubectl. */
import { Argument, type Command } from 'commander';
import type { Surroundings } from '../../surroundings.js';
import type { OpenCluster } from '../cluster.js';
import {
  clusterOptionsOf,
  completerFor,
  completers,
  completionLines,
  placeOf,
  wordsFor,
  type Candidate,
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
    const options = clusterOptionsOf(program, before);
    const late = new Promise<Candidate[]>((resolve) => setTimeout(() => resolve([]), patienceMs).unref());
    const asked = open(options, around.version)
      .then((cluster) => completer(cluster).finally(() => void cluster.close()))
      .catch(() => []);
    candidates.push(...(await Promise.race([asked, late])));
  }
  const lines = completionLines(candidates, current);
  around.screen.write(lines.map((line) => `${line.replaceAll(/[\r\n]/g, ' ')}\n`).join(''));
}
