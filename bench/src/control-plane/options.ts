import { choice, readOptions, wholeNumber } from '../options.js';

export const parts = ['start', 'latency', 'growth', 'outage'] as const;
export type Part = (typeof parts)[number];

export interface Options {
  json?: string;
  only: readonly Part[];
  pods: number;
  services: number;
  nodes: number;
  check: boolean;
}

export const help = `usage: npm run bench -- control-plane [--only PARTS] [--pods N] [--services N] [--nodes N] [--json FILE] [--check]

On a real etcd, API server and controller manager: how long the operator takes to start, how long until the kernel of a node has
a changed endpoint, what an event costs as services get more, and what an outage of the API server does. Nodes and pods are
objects. Needs root.

  --only PARTS   some of ${parts.join(',')}
  --pods N       pods that serve (default 5000)
  --services N   ServalServices (default 1000)
  --nodes N      Nodes, and ServalNodes (default 200)
  --json FILE    write the figures there as JSON
  --check        exit with 1 where a promised figure is missed
  --help         this text

Exit codes: 0 done, 1 failed (or, with --check, a promise was missed), 2 wrong usage.`;

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const values = readOptions(args, {
    json: { type: 'string' },
    only: { type: 'string' },
    pods: { type: 'string' },
    services: { type: 'string' },
    nodes: { type: 'string' },
    check: { type: 'boolean' },
  });
  return {
    ...(values.json === undefined ? {} : { json: values.json }),
    only: choice('--only', parts, values.only),
    pods: wholeNumber('--pods', values.pods ?? '5000'),
    services: wholeNumber('--services', values.services ?? '1000'),
    nodes: wholeNumber('--nodes', values.nodes ?? '200'),
    check: values.check ?? false,
  };
}
