/**
 * A process with several stores that keep what agents keep, as on as many nodes. What it is asked on standard input it answers
 * on standard output, each in a line.
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { objectName } from '@serval/api';
import { KubeClient, KubernetesStore, type ReflectorTimes } from '@serval/kube-runtime/kubernetes';
import { labelValue, serviceLabel } from '@serval/operator';

export interface AgentsChildOptions {
  kubeconfig: string;
  stores: number;
  times?: Partial<ReflectorTimes>;
}

/** look: tell what there is; returned: the API server is back from now on, tell when each store has heard from it. */
export type AgentsWish = 'look' | 'returned';

export type AgentsWord =
  | { what: 'ready' }
  | { what: 'look'; stores: StoreLook[] }
  /** ms since `returned`, by store */
  | { what: 'returned'; afterMs: number[] };

export interface StoreLook {
  /** of all that it keeps */
  digest: string;
  objects: number;
  /** the longest that one of its watches has said nothing, ms */
  silentMs: number;
  /** lists and watches that broke so far */
  errors: number;
}

/** Kinds that an agent keeps. */
const kinds = {
  ServalNode: {},
  ServalMigration: {},
  ServalService: {},
  EndpointSlice: { labelSelector: `${serviceLabel}=${labelValue}` },
} as const;
const kindNames = Object.keys(kinds) as Array<keyof typeof kinds>;
const everyMs = 20;

class Agent {
  private errors = 0;

  private constructor(private store: KubernetesStore | undefined) {}

  static async open(client: KubeClient, times: Partial<ReflectorTimes>): Promise<Agent> {
    const agent = new Agent(undefined);
    agent.store = await KubernetesStore.open({
      client,
      kinds,
      fieldManager: 'serval-test',
      onError: () => agent.errors++,
      times,
    });
    return agent;
  }

  look(): StoreLook {
    const hash = createHash('sha256');
    let objects = 0;
    for (const kind of kindNames) {
      const all = this.store?.list(kind) ?? [];
      objects += all.length;
      const versions = all.map((each) => `${kind} ${objectName(each)} ${each.metadata.resourceVersion}`);
      hash.update(versions.sort().join('\n'));
    }
    return { digest: hash.digest('hex'), objects, silentMs: this.silentMs(), errors: this.errors };
  }

  silentMs(): number {
    return this.store?.silentFor() ?? Infinity;
  }
}

function returned(agents: readonly Agent[]): Promise<number[]> {
  const began = performance.now();
  const after = new Map<Agent, number>();
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const now = performance.now() - began;
      for (const agent of agents)
        if (!after.has(agent) && agent.silentMs() < now) after.set(agent, Math.round(now));
      if (after.size < agents.length) return;
      clearInterval(timer);
      resolve(agents.map((agent) => after.get(agent) ?? 0));
    }, everyMs);
  });
}

async function main({ kubeconfig, stores, times = {} }: AgentsChildOptions): Promise<void> {
  const say = (word: AgentsWord): void => void process.stdout.write(`${JSON.stringify(word)}\n`);
  const open = (): Promise<Agent> => Agent.open(KubeClient.load('serval-test', kubeconfig), times);
  const agents = await Promise.all(Array.from({ length: stores }, open));
  say({ what: 'ready' });
  for await (const wish of createInterface({ input: process.stdin })) {
    if (wish === 'look') say({ what: 'look', stores: agents.map((agent) => agent.look()) });
    if (wish === 'returned') void returned(agents).then((afterMs) => say({ what: 'returned', afterMs }));
  }
  process.exit(0);
}

await main(JSON.parse(process.argv[2] ?? '') as AgentsChildOptions);
