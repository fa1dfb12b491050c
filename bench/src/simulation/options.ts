import { choice, readOptions } from '../options.js';
import { scenarios } from './scenarios.js';

export interface Options {
  json?: string;
  svg?: string;
  only: readonly string[];
  check: boolean;
}

const names = scenarios.map(({ name }) => name);

export const help = `usage: npm run bench -- simulation [--svg DIR] [--json FILE] [--only SCENARIOS] [--check]

Simulates clients on 36 nodes in three zones that choose among replicas of one service, by the code that the agent runs,
beside topology-aware routing and a random choice, and says who got how many flows. Needs nothing: no root, no network.

  --svg DIR         draw each scenario there, as NAME.svg
  --json FILE       write the figures there as JSON
  --only SCENARIOS  some of ${names.join(',')}
  --check           exit with 1 where a promised figure is missed
  --help            this text

Exit codes: 0 done, 1 failed (or, with --check, a promise was missed), 2 wrong usage.`;

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const values = readOptions(args, {
    json: { type: 'string' },
    svg: { type: 'string' },
    only: { type: 'string' },
    check: { type: 'boolean' },
  });
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    ...(values.svg === undefined ? {} : { svg: values.svg }),
    only: choice('--only', names, values.only),
    check: values.check ?? false,
  };
}
