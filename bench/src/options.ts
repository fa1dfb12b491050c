import { parseArgs } from 'node:util';

export const parts = ['packet', 'network', 'apply'] as const;
export type Part = (typeof parts)[number];

export interface Options {
  help: boolean;
  json?: string;
  rounds: number;
  only: readonly Part[];
  check: boolean;
}

export class UsageError extends Error {}

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
  const { values, positionals } = parse(args);
  if (values.help !== true && (positionals.length !== 1 || positionals[0] !== 'datapath'))
    throw new UsageError('say what to measure: datapath');
  return {
    help: values.help ?? false,
    ...(values.json === undefined ? {} : { json: values.json }),
    rounds: wholeNumber('--rounds', values.rounds ?? '5'),
    only: values.only === undefined ? parts : values.only.split(',').map(part),
    check: values.check ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: 'boolean' },
        json: { type: 'string' },
        rounds: { type: 'string' },
        only: { type: 'string' },
        check: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new UsageError(`${name} wants a whole number above 0, not "${text}"`);
}

function part(name: string): Part {
  const found = parts.find((known) => known === name);
  if (found === undefined) throw new UsageError(`--only knows ${parts.join(', ')}, not "${name}"`);
  return found;
}
