/** What it takes to apply, switch and remove flows, in milliseconds, with the programs attached before. */
import type { EbpfDatapath, FlowRule } from '@serval/node-agent';
import { run } from '../shell.js';
import { roundedSpread, spread, type Spread } from '../statistics.js';
import type { Workspace } from '../workspace.js';

export const flowCounts = [1_000, 10_000, 100_000] as const;
const operations = ['apply', 'switch', 'remove'] as const;
type Operation = (typeof operations)[number];

export type ApplyMs = Record<Operation, Record<string, number>>;

export interface ApplyResult {
  applyMs: ApplyMs;
  spreads: Record<Operation, Record<string, Spread>>;
  /** loading and attaching the programs of a pod, with its first rule */
  attachMs: Spread;
  /** the very first 10,000 flows of the process, before the JavaScript engine has seen the code */
  firstApplyMs: number;
}

const pod = 'bench/apply';
const oldServer = { address: '10.1.1.2', port: 6379 };
const newServer = { address: '10.2.1.2', port: 6379 };

/** Flows of a server that moved, half of them from either of two peers' hosts. */
export function flowsOfServer(count: number, migration: bigint): FlowRule[] {
  return Array.from({ length: count }, (_, i): FlowRule => {
    const remote = { address: i % 2 === 0 ? '10.9.1.2' : '10.9.2.2', port: 10_000 + (i >> 1) };
    return {
      flowId: migration * 1_000_000n + BigInt(i + 1),
      migration,
      protocol: 'tcp',
      identity: { local: { ...oldServer }, remote },
      wire: { local: { ...newServer }, remote: { ...remote } },
      state: 'held',
    };
  });
}

/** Keeps the pod attached while nothing else has a rule. */
const keeper: FlowRule = {
  flowId: 1n,
  migration: 1n,
  protocol: 'udp',
  identity: { local: oldServer, remote: { address: '10.9.3.2', port: 9 } },
  wire: { local: newServer, remote: { address: '10.9.3.2', port: 9 } },
  state: 'active',
};

export async function measureApply(
  workspace: Workspace,
  rounds: number,
  progress: (line: string) => void,
): Promise<ApplyResult> {
  const netns = await workspace.netns('apply');
  await run([
    'nsenter',
    `--net=${netns}`,
    'ip',
    'link',
    'add',
    'eth0',
    'type',
    'veth',
    'peer',
    'name',
    'eth1',
  ]);
  const { datapath } = await workspace.datapath({ slots: 1 << 18 });
  await datapath.addPod({ name: pod, netns, interfaces: ['eth0'] });
  const attach: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await datapath.removePod(pod);
    await datapath.addPod({ name: pod, netns, interfaces: ['eth0'] });
    attach.push(await timed(() => datapath.apply(pod, [keeper])));
  }
  const [first] = await oneRound(datapath, 10_000, 2n);
  const times = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [index, count] of flowCounts.entries()) {
      const measured = await oneRound(datapath, count, BigInt(3 + round * flowCounts.length + index));
      operations.forEach((operation, at) => {
        const name = `${operation} ${count}`;
        times.set(name, [...(times.get(name) ?? []), measured[at] as number]);
      });
    }
    progress(`flows: round ${round + 1} of ${rounds}`);
  }
  return {
    ...summary(times),
    attachMs: roundedSpread(spread(attach), 2),
    firstApplyMs: Number(first.toFixed(2)),
  };
}

/** Milliseconds to apply, to switch and to remove. */
async function oneRound(
  datapath: EbpfDatapath,
  count: number,
  migration: bigint,
): Promise<[number, number, number]> {
  const rules = flowsOfServer(count, migration);
  const applied = await timed(() => datapath.apply(pod, rules));
  const switched = await timed(() => datapath.setState(pod, rules, 'active'));
  const removed = await timed(async () => {
    const removedRules = await datapath.remove(pod, { migration });
    if (removedRules !== count) throw new Error(`${removedRules} rules were removed instead of ${count}`);
  });
  return [applied, switched, removed];
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function summary(times: Map<string, number[]>): Pick<ApplyResult, 'applyMs' | 'spreads'> {
  const each = <Value>(value: (measured: Spread) => Value): Record<Operation, Record<string, Value>> => {
    const of = (operation: Operation): Record<string, Value> =>
      Object.fromEntries(
        flowCounts.map((count) => [
          count,
          value(roundedSpread(spread(times.get(`${operation} ${count}`) ?? []), 2)),
        ]),
      );
    return { apply: of('apply'), switch: of('switch'), remove: of('remove') };
  };
  return { applyMs: each((measured) => measured.median), spreads: each((measured) => measured) };
}
