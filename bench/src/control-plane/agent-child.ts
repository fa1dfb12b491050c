/**
 * What an agent keeps of services, in a process of its own: the store with the agent's selectors, its index, its plans; without
 * a kernel below. Says which replicas take connections whenever a plan has changed.
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { planned, ServiceIndex, type PlannedService } from '@serval/node-agent';

export interface AgentChildOptions {
  kubeconfig: string;
  /** the node that it plans for */
  node: string;
  /** of the slices that concern it */
  labelSelector: string;
}

export type AgentWord =
  | { what: 'ready'; services: number }
  /** `at` is of a clock that all processes of the machine share, ms */
  | { what: 'plan'; at: number; service: string; ready: string[] };

class Agent {
  private readonly plans = new Map<string, PlannedService>();
  private readonly due = new Set<string>();
  private isWoken = false;
  private readonly index = new ServiceIndex({
    service: (name) => this.look(name),
    node: () => this.lookAll(),
  });

  constructor(
    private readonly node: string,
    private readonly say: (word: AgentWord) => void,
  ) {}

  follow(store: KubernetesStore): void {
    this.index.follow(store);
  }

  get services(): number {
    return [...this.index.names()].length;
  }

  private lookAll(): void {
    for (const name of this.index.names()) this.look(name);
  }

  private look(name: string): void {
    this.due.add(name);
    if (this.isWoken) return;
    this.isWoken = true;
    setImmediate(() => this.planDue());
  }

  private planDue(): void {
    this.isWoken = false;
    this.index.settle();
    for (const name of this.due) this.plan(name);
    this.due.clear();
  }

  private plan(name: string): void {
    const service = this.index.service(name);
    if (service === undefined) return void this.plans.delete(name);
    const { zone, region } = this.index.node(this.node) ?? {};
    const after = planned(
      {
        service,
        slices: this.index.slicesOf(name),
        points: this.index.pointsOf(name)?.points ?? [],
        surroundings: { node: (other) => this.index.node(other) },
        place: {
          node: this.node,
          ...(zone === undefined ? {} : { zone }),
          ...(region === undefined ? {} : { region }),
        },
        measured: () => undefined,
        seen: () => [],
        ownClient: () => undefined,
        isAsBefore: false,
        now: performance.now(),
      },
      this.plans.get(name),
    );
    this.plans.set(name, after);
    this.say({
      what: 'plan',
      at: Number(process.hrtime.bigint()) / 1e6,
      service: name,
      ready: readyOf(after),
    });
  }
}

/** Those that take connections, near or far. */
function readyOf({ ports }: PlannedService): string[] {
  const found = [...ports.values()].flatMap(({ planned: { plan } }) =>
    plan.replicas.filter(({ ready }) => ready).map(({ address }) => address),
  );
  return [...new Set(found)];
}

async function main({ kubeconfig, node, labelSelector }: AgentChildOptions): Promise<void> {
  let isQuiet = true;
  const say = (word: AgentWord): void => {
    if (!isQuiet || word.what === 'ready') process.stdout.write(`${JSON.stringify(word)}\n`);
  };
  const store = await KubernetesStore.open({
    client: KubeClient.load('serval-bench-agent', kubeconfig),
    kinds: { ServalNode: {}, ServalMigration: {}, ServalService: {}, EndpointSlice: { labelSelector } },
    fieldManager: 'serval-bench',
    onError: (kind, error) => console.error(kind, (error as Error).message),
  });
  const agent = new Agent(node, say);
  agent.follow(store);
  await delay(100);
  isQuiet = false;
  say({ what: 'ready', services: agent.services });
  // It ends with who started it.
  for await (const line of createInterface({ input: process.stdin })) if (line === 'end') break;
  process.exit(0);
}

await main(JSON.parse(process.argv[2] ?? '') as AgentChildOptions);
