import { choice, readOptions, wholeNumber } from '../options.js';

export const parts = ['packet', 'network', 'apply'] as const;
export type Part = (typeof parts)[number];

export interface Options {
  json?: string;
  rounds: number;
  only: readonly Part[];
  check: boolean;
}

export const help = `usage: npm run bench -- datapath [--json FILE] [--rounds N] [--only PARTS] [--check]

Measures the data plane against doing without it, all in one run, one after the other in each round; the figures are
medians of the rounds. Needs root and, for figures that mean something, an otherwise idle machine.

  --json FILE    write the figures there as JSON
  --rounds N     rounds, default 5
  --only PARTS   some of packet,network,apply
  --check        exit with 1 where a promised figure is missed
  --help         this text

Exit codes: 0 done, 1 failed (or, with --check, a promise was missed), 2 wrong usage.`;

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const values = readOptions(args, {
    json: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string' },
    check: { type: 'boolean' },
  });
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    rounds: wholeNumber('--rounds', values.rounds ?? '5'),
    only: choice('--only', parts, values.only),
    check: values.check ?? false,
  };
}
