/**
 * An API server that is gone, or hangs, while services change: what agents keep meanwhile, and how all come back. For the test,
 * and for the bench, where it takes longer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import type { AgentsProcess } from './agents-process.js';
import type { StoreLook } from './agents-child.js';
import type { ControlPlane } from './control-plane.js';
import { group } from './hostile-world.js';
import { sumOf, type OperatorProcess } from './operator-process.js';
import type { RequestCounts } from './request-counts.js';
import { requestsSince } from './request-counts.js';

export interface OutageWorld {
  plane: ControlPlane;
  client: KubeClient;
  operator: OperatorProcess;
  agents: readonly AgentsProcess[];
}

export interface OutageOptions {
  /** killed without a word, or standing still with all connections open */
  how: 'gone' | 'hangs';
  seconds: number;
  /** all has to be as it should be so long after, ms */
  convergeMs: number;
}

export interface OutageResult {
  /** stores that read otherwise during the outage than before */
  changed: number;
  /** how long the watches had been silent when it ended, ms: the shortest of all stores */
  silentMs: number;
  /** lists and watches that broke in each store until it ended: the fewest */
  fewestErrors: number;
  /** whether the operator said so: leads no more, its watches are silent */
  operatorNoticed: boolean;
  /** from the return of the API server until each store had heard from it, sorted, ms */
  returnedMs: number[];
  /** from the return until what was changed after it was in every store, by the operator's hand, ms */
  convergedMs: number;
  /** in the first seconds after the return */
  firstSeconds: number;
  requests: RequestCounts;
}

const firstSeconds = 5;
const changeEveryMs = 200;
const changedService = `${group}/servalservices/outage-0`;
const waitMs = 100;

/** Services to be changed, before an outage. Resolves when the operator has taken them up. */
export async function makeServices(client: KubeClient, count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await client.request({
      method: 'POST',
      path: `${group}/servalservices`,
      body: {
        apiVersion: 'serval.io/v1alpha1',
        kind: 'ServalService',
        metadata: { name: `outage-${i}` },
        spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
      },
    });
  for (let i = 0; i < count; i++)
    while (!(await isObserved(client, `${group}/servalservices/outage-${i}`))) await delay(waitMs);
}

export async function outage(world: OutageWorld, options: OutageOptions): Promise<OutageResult> {
  const { plane, operator } = world;
  const before = await settled(world);
  const counted = await plane.requests();
  await begin(plane, options);
  const writer = changes(world.client);
  await delay(options.seconds * 1_000);
  const after = await look(world);
  const metrics = await operator.metrics();
  const isLeader = sumOf(metrics, 'serval_operator_leader') === 1;
  const silent = sumOf(metrics, 'serval_operator_watch_silent_seconds');
  await end(plane, options);
  const began = performance.now();
  const returned = Promise.all(world.agents.map((agents) => agents.returned()));
  const requests = await requestsAfter(plane, options, counted);
  await writer.end();
  // A kind of which nothing changes is heard of with the next bookmark, a minute later: what all have is there long before.
  const convergedMs = await converged(world, began, options.convergeMs);
  const returnedMs = (await returned).flat().sort((a, b) => a - b);
  return {
    changed: before.filter(({ digest }, i) => digest !== after[i]?.digest).length,
    silentMs: Math.min(...after.map(({ silentMs }) => silentMs)),
    fewestErrors: Math.min(...after.map(({ errors }, i) => errors - (before[i]?.errors ?? 0))),
    operatorNoticed: !isLeader && silent > 0 && !operator.hasEnded,
    ...{ returnedMs, convergedMs, firstSeconds, requests },
  };
}

async function begin(plane: ControlPlane, { how }: OutageOptions): Promise<void> {
  if (how === 'gone') await plane.killApiServer();
  else plane.pauseApiServer();
}

async function end(plane: ControlPlane, { how }: OutageOptions): Promise<void> {
  if (how === 'gone') await plane.startApiServer();
  else plane.continueApiServer();
}

/** One that was started anew counts from nothing. */
async function requestsAfter(
  plane: ControlPlane,
  { how }: OutageOptions,
  before: RequestCounts,
): Promise<RequestCounts> {
  await delay(firstSeconds * 1_000);
  const after = await plane.requests();
  return how === 'gone' ? after : requestsSince(before, after);
}

/** Somebody goes on changing a service, whether it goes or not. */
function changes(client: KubeClient): { end: () => Promise<void> } {
  let isEnded = false;
  const run = async (): Promise<void> => {
    for (let maxDelayMs = 1; !isEnded; maxDelayMs++) {
      await change(client, maxDelayMs, 1_000).catch(() => undefined);
      await delay(changeEveryMs);
    }
  };
  const running = run();
  return {
    end: () => {
      isEnded = true;
      return running;
    },
  };
}

function change(client: KubeClient, maxDelayMs: number, timeoutMs: number): Promise<unknown> {
  return client.request({
    method: 'PATCH',
    path: changedService,
    contentType: 'application/merge-patch+json',
    body: { spec: { maxDelayMs } },
    timeoutMs,
  });
}

async function look({ agents }: OutageWorld): Promise<StoreLook[]> {
  return (await Promise.all(agents.map((each) => each.look()))).flat();
}

/** When all stores keep the same, and have for a while. */
async function settled(world: OutageWorld): Promise<StoreLook[]> {
  let before = await look(world);
  for (;;) {
    await delay(500);
    const now = await look(world);
    if (now.every(({ digest }, i) => digest === before[0]?.digest && digest === before[i]?.digest))
      return now;
    before = now;
  }
}

/** A last change is told by the operator, and all stores keep the same. @throws where that takes too long */
async function converged(world: OutageWorld, began: number, limitMs: number): Promise<number> {
  await change(world.client, 1_234_567, 10_000);
  for (;;) {
    const [first, ...others] = await look(world);
    const isSame = others.every(({ digest }) => digest === first?.digest);
    const ms = performance.now() - began;
    if (isSame && (await isObserved(world.client, changedService))) {
      // What the operator wrote a moment ago may be on its way.
      await settled(world);
      return Math.round(ms);
    }
    if (ms > limitMs) throw new Error(`after ${Math.round(ms)} ms not all is as it should be again`);
    await delay(waitMs);
  }
}

/** The operator has seen this generation of it. */
async function isObserved(client: KubeClient, path: string): Promise<boolean> {
  const { metadata, status } = await client.request<{
    metadata: { generation: number };
    status?: { observedGeneration?: number };
  }>({ path });
  return status?.observedGeneration === metadata.generation;
}

/** Requests by which stores come back, of the kinds that they keep. */
export function lists(requests: RequestCounts): number {
  const own = Object.entries(requests).filter(([name]) =>
    /^LIST (servalnodes|servalservices|servalmigrations|endpointslices)$/.test(name),
  );
  return own.reduce((sum, [, times]) => sum + times, 0);
}
