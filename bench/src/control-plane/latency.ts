/** From a pod that becomes ready, or is to end, to the kernel of a node: the controller manager's share, and ours. */
import { KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { percentiles, type Percentiles } from '../statistics.js';
import type { AgentNode } from './agent-node.js';
import { firstPod, podAddress, podName } from './objects.js';
import type { World } from './world.js';

export interface LatencyResult {
  /** from the API server's answer about the pod until connections go by it, ms */
  becameReady: Parts;
  isToEnd: Parts;
}

export interface Parts {
  whole: Percentiles;
  /** until a watch has the changed EndpointSlice: the controller manager's share, and the API server's */
  toSlice: Percentiles;
  /** from there to the agent's table in the kernel */
  toKernel: Percentiles;
}

const times = 40;

export async function latency(world: World, agent: AgentNode, labelSelector: string): Promise<LatencyResult> {
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
  toKernel: number;
}

async function seen(
  store: KubernetesStore,
  agent: AgentNode,
  service: number,
  isThere: boolean,
  work: () => Promise<void>,
): Promise<Sample> {
  const pod = firstPod(service);
  const sliced = sliceTells(store, pod, isThere);
  const programmed = agent.leadsTo(service, podAddress(pod), isThere);
  await work();
  const answered = performance.now();
  const [atSlice, atKernel] = await Promise.all([sliced, programmed]);
  // The watch may be quicker than the answer.
  return { toSlice: Math.max(0, atSlice - answered), toKernel: Math.max(0, atKernel - atSlice) };
}

function sliceTells(store: KubernetesStore, pod: number, isThere: boolean): Promise<number> {
  return new Promise((resolve) => {
    let end: () => void = () => undefined;
    let isOver = false;
    end = store.watch('EndpointSlice', ({ object }) => {
      const endpoint = object.endpoints.find(({ targetRef }) => targetRef?.name === podName(pod));
      if (isOver || endpoint === undefined || (endpoint.conditions?.ready ?? true) !== isThere) return;
      isOver = true;
      resolve(performance.now());
      setImmediate(() => end());
    });
  });
}

function partsOf(samples: readonly Sample[]): Parts {
  return {
    whole: percentiles(
      samples.map(({ toSlice, toKernel }) => toSlice + toKernel),
      1,
    ),
    toSlice: percentiles(
      samples.map(({ toSlice }) => toSlice),
      1,
    ),
    toKernel: percentiles(
      samples.map(({ toKernel }) => toKernel),
      1,
    ),
  };
}
