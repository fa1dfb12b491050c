/** From a pod that becomes ready, or is to end, to the plan of an agent: the controller manager's share, and ours. */
import { KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { percentiles, type Percentiles } from '../statistics.js';
import type { AgentSide } from './agent.js';
import { firstPod, podAddress, podName, serviceName } from './objects.js';
import type { World } from './world.js';

export interface LatencyResult {
  /** from the API server's answer about the pod to the plan, ms */
  becameReady: Parts;
  isToEnd: Parts;
}

export interface Parts {
  whole: Percentiles;
  /** until a watch has the changed EndpointSlice: the controller manager's share, and the API server's */
  toSlice: Percentiles;
  /** from there to the plan */
  toPlan: Percentiles;
}

const times = 40;
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

export async function latency(world: World, agent: AgentSide, labelSelector: string): Promise<LatencyResult> {
  const store = await KubernetesStore.open({
    client: world.client,
    kinds: { EndpointSlice: { labelSelector } },
    fieldManager: 'serval-bench',
    onError: () => undefined,
  });
  try {
    const [became, ends]: [Sample[], Sample[]] = [[], []];
    for (let service = 0; service < times; service++) {
      const pod = firstPod(service);
      await seen(store, agent, service, false, () => world.setReady(pod, false));
      became.push(await seen(store, agent, service, true, () => world.setReady(pod, true)));
      ends.push(await seen(store, agent, service, false, () => world.deletePod(pod, 30)));
      await world.deletePod(pod, 0);
      await seen(store, agent, service, true, () => made(world, pod));
    }
    return { becameReady: partsOf(became), isToEnd: partsOf(ends) };
  } finally {
    await store.close();
  }
}

/** As soon as the one of its name is gone. */
async function made(world: World, pod: number): Promise<void> {
  for (;;)
    try {
      return await world.makePod(pod);
    } catch (error) {
      if (!String(error).includes('already exists')) throw error;
    }
}

interface Sample {
  toSlice: number;
  toPlan: number;
}

async function seen(
  store: KubernetesStore,
  agent: AgentSide,
  service: number,
  isThere: boolean,
  work: () => Promise<void>,
): Promise<Sample> {
  const pod = firstPod(service);
  const sliced = sliceTells(store, pod, isThere);
  const plan = agent.planHolds(serviceName(service), podAddress(pod), isThere);
  await work();
  const answered = now();
  const [atSlice, atPlan] = await Promise.all([sliced, plan]);
  // The watch may be quicker than the answer.
  return { toSlice: Math.max(0, atSlice - answered), toPlan: Math.max(0, atPlan - atSlice) };
}

function sliceTells(store: KubernetesStore, pod: number, isThere: boolean): Promise<number> {
  return new Promise((resolve) => {
    let end: () => void = () => undefined;
    let isOver = false;
    end = store.watch('EndpointSlice', ({ object }) => {
      const endpoint = object.endpoints.find(({ targetRef }) => targetRef?.name === podName(pod));
      if (isOver || endpoint === undefined || (endpoint.conditions?.ready ?? true) !== isThere) return;
      isOver = true;
      resolve(now());
      setImmediate(() => end());
    });
  });
}

function partsOf(samples: readonly Sample[]): Parts {
  return {
    whole: percentiles(
      samples.map(({ toSlice, toPlan }) => toSlice + toPlan),
      1,
    ),
    toSlice: percentiles(
      samples.map(({ toSlice }) => toSlice),
      1,
    ),
    toPlan: percentiles(
      samples.map(({ toPlan }) => toPlan),
      1,
    ),
  };
}
