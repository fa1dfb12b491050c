/** What one event of one service costs while there are so many services: of processors, and of requests. */
import { setTimeout as delay } from 'node:timers/promises';
import { requestsSince, type OperatorProcess } from '@serval/e2e';
import { rounded } from '../statistics.js';
import type { AgentNode } from './agent-node.js';
import { eventful, firstPod, podAddress } from './objects.js';
import { controlMs, cpuMs } from './processor.js';
import type { World } from './world.js';

export interface GrowthResult {
  services: number;
  events: number;
  /** of the operator, for each event, ms: with what it does anyway meanwhile, its lease and its metrics */
  operatorMs: number;
  /** the same of an agent */
  agentMs: number;
  /** of a piece of work that is always the same, ms */
  controlMs: number;
  /** for each event, by verb and resource; those of the controller manager are among them */
  requests: Record<string, number>;
  /** of everything, while nothing but events happened */
  lists: Record<string, number>;
}

const events = 200;
const restMs = 3_000;

export async function growth(
  world: World,
  operator: OperatorProcess,
  agent: AgentNode,
  services: number,
): Promise<GrowthResult> {
  const pids = [operator.pid, agent.pid];
  // Asked for later they would be among what is counted.
  for (let i = 0; i < Math.min(eventful, services); i++) await agent.virtualIP(i);
  await delay(restMs);
  const controls = [controlMs()];
  const before = await world.plane.requests();
  const busy = await taken(pids, async () => {
    for (let i = 0; i < events; i++) await event(world, agent, i % Math.min(eventful, services), i);
    // The operator's last word comes after that.
    await delay(500);
  });
  const more = requestsSince(before, await world.plane.requests());
  controls.push(controlMs());
  const each = (i: number): number => rounded((busy[i] ?? 0) / events, 3);
  const isList = (name: string): boolean => name.startsWith('LIST');
  const own = Object.entries(more).filter(([name]) =>
    /serval|services|endpointslices|pods|events/.test(name),
  );
  return {
    ...{ services, events, operatorMs: each(0), agentMs: each(1) },
    controlMs: rounded(Math.min(...controls), 2),
    requests: Object.fromEntries(
      own.filter(([name]) => !isList(name)).map(([name, times]) => [name, rounded(times / events, 2)]),
    ),
    lists: Object.fromEntries(Object.entries(more).filter(([name]) => isList(name))),
  };
}

/** Twice for each service: its first pod is not ready any more, then it is again. */
async function event(world: World, agent: AgentNode, service: number, turn: number): Promise<void> {
  const pod = firstPod(service);
  const isReady = Math.floor(turn / eventful) % 2 === 1;
  const programmed = agent.leadsTo(service, podAddress(pod), isReady);
  await world.setReady(pod, isReady);
  await programmed;
}

/** By each of these processes, ms. */
async function taken(pids: readonly number[], work: () => Promise<unknown>): Promise<number[]> {
  const before = pids.map(cpuMs);
  await work();
  return pids.map((pid, i) => cpuMs(pid) - (before[i] ?? 0));
}
