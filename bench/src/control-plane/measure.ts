/** All parts, in one run on one control plane. */
import { setTimeout as delay } from 'node:timers/promises';
import { requestsSince, type OperatorProcess } from '@serval/e2e';
import type { Progress } from '../bench.js';
import { AgentNode } from './agent-node.js';
import { growth, type GrowthResult } from './growth.js';
import { interruptions, type InterruptionResult } from './interruption.js';
import { latency, type LatencyResult } from './latency.js';
import type { Options, Part } from './options.js';
import { coldStart, type StartResult } from './start.js';
import { World } from './world.js';

export interface Results {
  pods: number;
  nodes: number;
  services: number;
  /** with all Services to be made */
  first?: StartResult;
  /** with all there: an upgrade */
  again?: StartResult;
  latency?: LatencyResult;
  growth: GrowthResult[];
  interruptions: InterruptionResult[];
}

const labelSelector = 'serval.io/service=true';
/** The least and the most, beside what was asked for. */
const [fewServices, manyServices] = [100, 3];

export async function measure(options: Options, progress: Progress): Promise<Results> {
  const { pods, nodes, services } = options;
  const world = await World.start({ pods, nodes }, progress);
  const results: Results = { pods, nodes, services, growth: [], interruptions: [] };
  let operator: OperatorProcess | undefined;
  try {
    await world.makeNodes();
    await world.makePods();
    await world.makeServices(0, services);
    progress('the operator starts, with every Service to be made');
    const first = await coldStart(world, services);
    operator = first.operator;
    results.first = first.result;
    await operator.end('SIGTERM');
    progress('it starts again, with every Service made');
    const again = await coldStart(world, services);
    operator = again.operator;
    results.again = again.result;
    await rest(world, operator, options, results, progress);
    return results;
  } finally {
    await operator?.end('SIGKILL');
    await world.stop();
  }
}

async function rest(
  world: World,
  operator: OperatorProcess,
  { only, services }: Options,
  results: Results,
  progress: Progress,
): Promise<void> {
  const wants = (part: Part): boolean => only.includes(part);
  if (wants('latency') || wants('growth')) {
    progress('an agent takes all services up');
    const agent = await AgentNode.start(world);
    try {
      if (wants('latency')) {
        progress('changed endpoints, until the kernel of a node has them');
        results.latency = await latency(world, agent, labelSelector);
      }
      if (wants('growth')) results.growth = await grown(world, operator, agent, services, progress);
    } finally {
      await agent.end();
    }
  }
  if (wants('outage')) results.interruptions = await interruptions(world, operator, progress);
}

async function grown(
  world: World,
  operator: OperatorProcess,
  agent: AgentNode,
  services: number,
  progress: Progress,
): Promise<GrowthResult[]> {
  const results: GrowthResult[] = [];
  const at = async (number: number): Promise<void> => {
    progress(`events of one service among ${number}`);
    await quiet(world);
    results.push(await growth(world, operator, agent, number));
  };
  await at(services);
  await world.makeServices(services, services * manyServices);
  await at(services * manyServices);
  await world.deleteServices(fewServices, services * manyServices);
  await at(fewServices);
  return results.sort((a, b) => a.services - b.services);
}

const [pauseMs, patienceMs] = [2_000, 180_000];

/** Nobody writes endpoints, Services or our objects any more. @throws where somebody goes on for too long */
async function quiet({ plane }: World): Promise<void> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const before = await plane.requests();
    await delay(pauseMs);
    const more = Object.keys(requestsSince(before, await plane.requests()));
    const writes = more.filter((name) =>
      /^(POST|PUT|PATCH|APPLY|DELETE) .*(services|endpointslices|events)/.test(name),
    );
    if (writes.length === 0) return;
    if (performance.now() > end) throw new Error(`it does not get quiet: ${writes.join(', ')}`);
  }
}
