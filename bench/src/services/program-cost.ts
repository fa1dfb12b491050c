/** How long it takes until clients see what was programmed. */
import { setTimeout as delay } from 'node:timers/promises';
import { rounded, spread } from '../statistics.js';
import { Connector } from './connector.js';
import { watchIdle, type Idle } from './idle.js';
import { markedReplicas, type Plan } from './plan.js';
import type { Memory, Variant } from './variant.js';
import type { World } from './world.js';

const programmingPatienceMs = 300_000;
const changePatienceMs = 120_000;
/** Programmed anew so often, as long as all of it together takes no longer than this. */
const programmings = 3;
const programmingsMs = 15_000;
const changes = 5;
const changesMs = 30_000;
/** So long after the last one kube-proxy takes a change at once: it programs at most once a second. */
const restMs = 1_500;

export interface ProgramCost {
  by: string;
  /** medians, ms */
  fullMs: number;
  oneChangeMs: number;
  /** all that were measured */
  all: { fullMs: number[]; oneChangeMs: number[] };
  memory: Memory;
  /** of the process that programs, where one stays */
  idle?: Idle;
}

/** From nothing; ms until a client gets an answer from every service. */
export async function programFromNothing(world: World, variant: Variant, plan: Plan): Promise<number> {
  const targets = variant.targets(plan);
  const client = await Connector.start(world, variant.place.pod, targets);
  try {
    const [began, done] = await Promise.all([
      variant.program(plan),
      client.everyTarget(targets.length, programmingPatienceMs),
    ]);
    return rounded(done - began, 2);
  } finally {
    await client.close();
  }
}

/** It is programmed with `plan`, and was in `firstMs`; afterwards it may be programmed with anything. */
export async function measureProgram(
  world: World,
  variant: Variant,
  plan: Plan,
  firstMs: number,
): Promise<ProgramCost> {
  const memory = await variant.memory();
  const oneChangeMs = await measureChanges(world, variant, plan);
  const processId = variant.processId?.();
  const idle = processId === undefined ? undefined : await watchIdle(processId);
  const fullMs = [firstMs];
  while (fullMs.length < programmings && sum(fullMs) * (1 + 1 / fullMs.length) < programmingsMs) {
    await variant.clear();
    await variant.prepare(plan);
    fullMs.push(await programFromNothing(world, variant, plan));
  }
  return {
    by: variant.by,
    fullMs: spread(fullMs).median,
    oneChangeMs: spread(oneChangeMs).median,
    all: { fullMs, oneChangeMs },
    memory,
    ...(idle === undefined ? {} : { idle }),
  };
}

/** ms from telling of each change until a client meets the new replica. */
async function measureChanges(world: World, variant: Variant, plan: Plan): Promise<number[]> {
  const client = await Connector.start(world, variant.place.pod, variant.targets(plan));
  const times: number[] = [];
  let before = plan;
  try {
    for (const { address, mss } of markedReplicas.slice(0, changes)) {
      const after = { ...plan, replaced: address };
      await delay(restMs);
      const [told, seen] = await Promise.all([
        variant.change(before, after),
        client.reaches(mss, changePatienceMs),
      ]);
      times.push(rounded(seen - told, 2));
      before = after;
      if (sum(times) > changesMs) break;
    }
    // As it was, for whatever comes next.
    await variant.change(before, plan);
    return times;
  } finally {
    await client.close();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
