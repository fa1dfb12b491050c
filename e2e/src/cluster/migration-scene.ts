/** Nodes with agents that a test plays, pods on them, and migrations: objects of a real API server. */
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion, type ServalMigration } from '@serval/api';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import type { FakeKubelet } from './fake-kubelet.js';
import { createMigration, deleteMigration, migrations, readMigration } from './migration-objects.js';
import { within } from './within.js';

type Status = NonNullable<ServalMigration['status']>;

const serval = '/apis/serval.io/v1alpha1';
const pods = '/api/v1/namespaces/default/pods';
const renewMs = 5_000;
const merge = 'application/merge-patch+json';

export class MigrationScene {
  private readonly speaking = new Set<string>();
  private readonly end = new AbortController();
  private renewing: Promise<void> | undefined;

  constructor(
    readonly client: KubeClient,
    readonly kubelet: FakeKubelet,
  ) {}

  /** Nodes that a scheduler may use, each with an agent that says so every 5 s. */
  async addNodes(...names: string[]): Promise<void> {
    for (const name of names) {
      await this.addNode(name);
      await this.addAgent(name);
    }
    this.renewing ??= this.renew();
  }

  async stop(): Promise<void> {
    this.end.abort();
    await this.renewing;
  }

  private async addNode(name: string): Promise<void> {
    await this.client.request({
      method: 'POST',
      path: '/api/v1/nodes',
      body: { metadata: { name, labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' } } },
    });
    const resources = { cpu: '8', memory: '8Gi', pods: '100' };
    const ready = { type: 'Ready', status: 'True', reason: 'x', message: 'x' };
    await this.client.request({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}/status`,
      contentType: merge,
      body: { status: { capacity: resources, allocatable: resources, conditions: [ready] } },
    });
    // Admission says that it is not ready; who looks after that is left out here.
    await this.client.request({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}`,
      contentType: merge,
      body: { spec: { taints: null } },
    });
  }

  private async addAgent(name: string): Promise<void> {
    const spec = { address: '192.0.2.1:7946', hostAddresses: ['192.0.2.1'], podCIDRs: ['10.9.0.0/24'] };
    await this.client.request({
      method: 'POST',
      path: `${serval}/servalnodes`,
      body: { apiVersion, kind: 'ServalNode', metadata: { name }, spec },
    });
    await this.speak(name);
  }

  /** The agent says that it is there, from now on. */
  async speak(name: string): Promise<void> {
    this.speaking.add(name);
    await this.say(name, 'True');
  }

  /** It says a last word: whether it is Ready; then nothing. */
  async fallSilent(name: string, ready: 'True' | 'False' | 'Unknown'): Promise<void> {
    this.speaking.delete(name);
    await this.say(name, ready);
  }

  private async say(name: string, status: string): Promise<void> {
    const now = new Date().toISOString();
    const ready = { type: 'Ready', status, reason: 'Test', message: 'x', lastTransitionTime: now };
    await this.client.request({
      method: 'PATCH',
      path: `${serval}/servalnodes/${name}/status`,
      contentType: merge,
      body: { status: { lastSeen: now, conditions: [ready] } },
    });
  }

  private async renew(): Promise<void> {
    const { signal } = this.end;
    while (!signal.aborted) {
      await delay(renewMs, undefined, { signal }).catch(() => undefined);
      for (const name of this.speaking) await this.say(name, 'True').catch(() => undefined);
    }
  }

  /** A bare pod that runs on this node. */
  async addPod(name: string, nodeName: string, spec: object = {}): Promise<void> {
    const labels = { app: name };
    await this.client.request({
      method: 'POST',
      path: pods,
      body: {
        metadata: { name, labels },
        spec: { containers: [{ name: 'main', image: 'x' }], ...spec, nodeName },
      },
    });
    await this.holds(`${name} runs`, () => this.kubelet.pod(name)?.status.phase === 'Running');
  }

  bind(name: string, node: string): Promise<unknown> {
    return this.client.request({
      method: 'POST',
      path: `${pods}/${name}/binding`,
      body: { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target: { kind: 'Node', name: node } },
    });
  }

  migrate(name: string, pod: string, spec: Partial<ServalMigration['spec']> = {}): Promise<unknown> {
    return createMigration(this.client, name, pod, spec);
  }

  read(name: string): Promise<ServalMigration> {
    return readMigration(this.client, name);
  }

  delete(name: string): Promise<unknown> {
    return deleteMigration(this.client, name);
  }

  /** As an agent writes it. */
  says(name: string, status: Pick<Status, 'sourceStep' | 'targetStep' | 'reason'>): Promise<unknown> {
    return this.client.request({
      method: 'PATCH',
      path: `${migrations}/${name}/status`,
      contentType: merge,
      body: { status },
    });
  }

  /** Resolves when it is in this phase, and where a reason is given, for this reason. */
  async reaches(name: string, phase: string, reason?: string, ms = 20_000): Promise<Status> {
    let status: Status | undefined;
    const isThere = async (): Promise<boolean> => {
      ({ status } = await this.read(name));
      return status?.phase === phase && (reason === undefined || reasonOf(status) === reason);
    };
    await this.holds(`${name} is ${phase} ${reason ?? ''}`, isThere, () => JSON.stringify(status), ms);
    return status as Status;
  }

  /** Resolves when there is none of this name any more. */
  goes(name: string): Promise<void> {
    return this.holds(`${name} is gone`, async () => {
      const all = await this.client.request<{ items: ServalMigration[] }>({ path: migrations });
      return !all.items.some(({ metadata }) => metadata.name === name);
    });
  }

  async holds(
    what: string,
    look: () => boolean | Promise<boolean>,
    else_: () => string = () => '',
    ms = 20_000,
  ): Promise<void> {
    await within(ms, what, async () => (await look()) || undefined, else_);
  }
}

export function reasonOf(status: Status | undefined): string | undefined {
  return status?.conditions?.find(({ type }) => type === 'Succeeded')?.reason;
}
