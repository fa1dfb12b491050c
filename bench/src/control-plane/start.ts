/** How long the operator takes from the start of its process on, and what it has in memory then. */
import { setTimeout as delay } from 'node:timers/promises';
import { KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { sumOf, type OperatorProcess } from '@serval/e2e';
import { residentMb } from '../services/resident.js';
import { cpuMs, peakMb } from './processor.js';
import type { World } from './world.js';

export interface StartResult {
  services: number;
  /** until it has listed everything, ms */
  readyMs: number;
  /** until it leads, ms */
  leadsMs: number;
  /** until every service is as it should be, and its status says so, ms */
  reconciledMs: number;
  /** its own processor time until then, ms */
  processorMs: number;
  residentMb: number;
  peakMb: number;
}

/** Whoever asks oftener is what the operator is busy with. */
const [everyMs, allEveryMs] = [25, 250];
const patienceMs = 180_000;
const lease = '/apis/coordination.k8s.io/v1/namespaces/default/leases/serval-operator';

/** With Services to be made of all, or of none where they are there already. Resolves with the operator running. */
export async function coldStart(
  world: World,
  services: number,
): Promise<{ operator: OperatorProcess; result: StartResult }> {
  const began = performance.now();
  const operator = await world.operator('bench');
  const since = async (what: string, holds: () => Promise<boolean>, ms = everyMs): Promise<number> => {
    while (!(await holds().catch(() => false))) {
      if (operator.hasEnded || performance.now() > began + patienceMs)
        throw new Error(`the operator is not so far: ${what}\n${operator.words()}`);
      await delay(ms);
    }
    return Math.round(performance.now() - began);
  };
  const readyMs = await since('ready', async () => (await operator.page('/readyz')).status === 200);
  const leadsMs = await since('leads', () => isHeld(world));
  await since(
    'has looked at all',
    async () => {
      const metrics = await operator.metrics();
      const looked = sumOf(metrics, 'serval_operator_reconcile_seconds_count');
      return looked >= services && sumOf(metrics, 'serval_operator_queue_depth') === 0;
    },
    allEveryMs,
  );
  const reconciledMs = await since('all statuses', () => allSay(world, services), allEveryMs);
  return {
    operator,
    result: {
      ...{ services, readyMs, leadsMs, reconciledMs },
      processorMs: Math.round(cpuMs(operator.pid)),
      residentMb: residentMb(operator.pid),
      peakMb: peakMb(operator.pid),
    },
  };
}

async function isHeld({ client }: World): Promise<boolean> {
  const { spec } = await client.request<{ spec: { holderIdentity?: string } }>({ path: lease });
  return spec.holderIdentity?.startsWith('bench-') ?? false;
}

/** All take connections: the EndpointSlice controller has done its part too. */
async function allSay({ client }: World, services: number): Promise<boolean> {
  const store = await KubernetesStore.open({
    client,
    kinds: { ServalService: {} },
    fieldManager: 'serval-bench',
    onError: () => undefined,
  });
  try {
    const serving = store
      .list('ServalService')
      .filter(({ status }) => status?.conditions?.[0]?.status === 'True');
    return serving.length >= services;
  } finally {
    await store.close();
  }
}
