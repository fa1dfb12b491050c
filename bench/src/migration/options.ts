import { choice, readOptions, wholeNumber } from '../options.js';

export const loadNames = ['redis-1', 'redis-100', 'redis-10000', 'iperf3', 'ssh', 'switch'] as const;
export type LoadName = (typeof loadNames)[number];

export interface Options {
  json?: string;
  moves: number;
  rounds: number;
  only: readonly LoadName[];
  check: boolean;
}

export const help = `usage: npm run bench -- migration [--json FILE] [--moves N] [--rounds N] [--only LOADS] [--check]

Moves workloads between two hosts while clients on two others use them, with an agent on every host, and says how long the
workload stood still, how much longer its clients waited, and how long the peers took to switch. Needs root and, for
figures that mean something, an otherwise idle machine.

  --json FILE    write the figures there as JSON
  --moves N      migrations of each load, default 50
  --rounds N     switches of each number of flows without a mover, default 5
  --only LOADS   some of ${loadNames.join(',')}
  --check        exit with 1 where a promised figure is missed
  --help         this text

SERVAL_BENCH_LOG=LEVEL sets the level of the agents' logs, SERVAL_KEEP_LOGS=1 keeps them.

Exit codes: 0 done, 1 failed (or, with --check, a promise was missed), 2 wrong usage.`;

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const values = readOptions(args, {
    json: { type: 'string' },
    moves: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string' },
    check: { type: 'boolean' },
  });
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    moves: wholeNumber('--moves', values.moves ?? '50'),
    rounds: wholeNumber('--rounds', values.rounds ?? '5'),
    only: choice('--only', loadNames, values.only),
    check: values.check ?? false,
  };
}
