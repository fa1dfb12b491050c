import { choice, readOptions, UsageError, wholeNumber } from '../options.js';
import { maxServices } from './plan.js';
import { ways, type Way } from './variant.js';

export const parts = ['sizes', 'program', 'cut'] as const;
export type Part = (typeof parts)[number];

/** Whose rules stand for kube-proxy. */
export const peers = ['real', 'shape', 'auto'] as const;
export type Peers = (typeof peers)[number];

export interface Options {
  json?: string;
  rounds: number;
  only: readonly Part[];
  /** ascending */
  services: readonly number[];
  variants: readonly Way[];
  peers: Peers;
  check: boolean;
}

export const help = `usage: npm run bench -- services [--json FILE] [--rounds N] [--only PARTS] [--services SIZES] [--variants NAMES]
                                 [--peers KIND] [--check]

Connects to services of 10 replicas by their virtual IPs, through the SAL and through kube-proxy's two modes, and to the
replicas' own addresses, in one run, in short bursts that take turns; the figures are medians. Tells how long it takes to
program all services from nothing and after one endpoint has changed, and what memory that needs, and processor while
nothing happens. Cuts off one of two hosts with replicas while clients connect, and tells what they see. Needs root and,
for figures that mean something, an otherwise idle machine.

  --json FILE       write the figures there as JSON
  --rounds N        rounds for each size, default 5
  --only PARTS      some of ${parts.join(',')}; program is done with the greatest size, cut with one service
  --services SIZES  how many services there are, default 1,1000,10000
  --variants NAMES  some of ${ways.join(',')}; direct is always among them
  --peers KIND      real: kube-proxy itself, built where it is missing, which takes minutes, once; shape: rules of the same
                    shape; auto (default): real where it is there or Go to build it with, else shape
  --check           exit with 1 where a promised figure is missed
  --help            this text

SERVAL_BENCH_LOG=LEVEL sets the level of the agent's log.

Exit codes: 0 done, 1 failed (or, with --check, a promise was missed), 2 wrong usage.`;

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const values = readOptions(args, {
    json: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string' },
    services: { type: 'string' },
    variants: { type: 'string' },
    peers: { type: 'string' },
    check: { type: 'boolean' },
  });
  const chosen = choice('--variants', ways, values.variants);
  const [kind = 'auto', ...others] = choice('--peers', peers, values.peers ?? 'auto');
  if (others.length > 0) throw new UsageError(`--peers wants one of ${peers.join(', ')}`);
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    rounds: wholeNumber('--rounds', values.rounds ?? '5'),
    only: choice('--only', parts, values.only),
    services: sizes(values.services ?? '1,1000,10000'),
    variants: ways.filter((way) => way === 'direct' || chosen.includes(way)),
    peers: kind,
    check: values.check ?? false,
  };
}

function sizes(text: string): number[] {
  const all = text.split(',').map((word) => (/^[1-9]\d{0,5}$/.test(word) ? Number(word) : NaN));
  if (all.every((each) => each <= maxServices)) return [...new Set(all)].sort((a, b) => a - b);
  throw new UsageError(`--services wants whole numbers from 1 to ${maxServices}, by commas, not "${text}"`);
}
