/** A cluster for kubectl-serval to look at: objects as the operator, the agents and kubelets would write them. */
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion, type ServalMigration } from '@serval/api';
import type { KubeClient, KubeRequest } from '@serval/kube-runtime/kubernetes';

const serval = '/apis/serval.io/v1alpha1';
const migrations = `${serval}/namespaces/default/servalmigrations`;
const labels = (component: string): Record<string, string> => ({
  'app.kubernetes.io/name': 'serval',
  'app.kubernetes.io/component': component,
});

export class CliWorld {
  constructor(private readonly client: KubeClient) {}

  async make(path: string, body: object): Promise<void> {
    await this.client.request({ method: 'POST', path, body });
  }

  async patch(path: string, body: object, more: Partial<KubeRequest> = {}): Promise<void> {
    const contentType = 'application/merge-patch+json';
    await this.client.request({ method: 'PATCH', path, contentType, body, ...more });
  }

  async makeNode(name: string, kernelVersion: string): Promise<void> {
    await this.make('/api/v1/nodes', { metadata: { name, labels: { 'kubernetes.io/os': 'linux' } } });
    const nodeInfo = {
      ...{
        kernelVersion,
        osImage: 'Debian GNU/Linux 12 (bookworm)',
        operatingSystem: 'linux',
        architecture: 'amd64',
      },
      ...{ containerRuntimeVersion: 'containerd://2.1.0', kubeletVersion: 'v1.34.0', kubeProxyVersion: '' },
      ...{ machineID: '', systemUUID: '', bootID: '' },
    };
    await this.patch(`/api/v1/nodes/${name}/status`, { status: { nodeInfo } });
  }

  async makePod(name: string, node: string, component?: string, namespace = 'default'): Promise<void> {
    const pods = `/api/v1/namespaces/${namespace}/pods`;
    const [container, image] =
      component === undefined ? ['a', 'a'] : [component, `serval/${component}:0.1.0`];
    await this.make(pods, {
      metadata: { name, ...(component === undefined ? {} : { labels: labels(component) }) },
      spec: {
        nodeName: node,
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: container, image }],
      },
    });
    const now = new Date().toISOString();
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: now }];
    await this.patch(`${pods}/${name}/status`, { status: { phase: 'Running', conditions } });
  }

  async makeServalNode(name: string, ready: 'True' | 'False'): Promise<void> {
    const spec = {
      address: '192.0.2.1:7946',
      hostAddresses: ['192.0.2.1'],
      podCIDRs: ['10.1.0.0/24'],
      zone: 'a',
    };
    await this.make(`${serval}/servalnodes`, { apiVersion, kind: 'ServalNode', metadata: { name }, spec });
    await this.readyServalNode(name, ready);
  }

  async readyServalNode(name: string, ready: 'True' | 'False'): Promise<void> {
    const message = ready === 'True' ? 'it works' : 'the data plane is not loaded';
    await this.patch(`${serval}/servalnodes/${name}/status`, {
      status: {
        ...{ agentVersion: '0.1.0', kernelVersion: '6.1.0', lastSeen: new Date().toISOString() },
        capabilities: [
          { name: 'datapath', available: true },
          { name: 'criu', available: false, message: 'there is no criu' },
        ],
        conditions: [
          {
            type: 'Ready',
            status: ready,
            reason: 'R',
            message,
            lastTransitionTime: new Date().toISOString(),
          },
        ],
      },
    });
  }

  /** As the operator does while it leads. */
  async lead(namespace: string, holderIdentity: string): Promise<void> {
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    await this.patch(
      `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/serval-operator`,
      {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: 'serval-operator' },
        spec: { holderIdentity, renewTime, leaseDurationSeconds: 8 },
      },
      { contentType: 'application/apply-patch+yaml', query: { fieldManager: 'operator', force: true } },
    );
  }

  /** A Deployment and a DaemonSet, as the chart makes them; their controllers count the pods that they own. */
  async makeWorkloads(namespace: string): Promise<void> {
    const template = (component: string): object => ({
      selector: { matchLabels: labels(component) },
      template: {
        metadata: { labels: labels(component) },
        spec: {
          nodeSelector: { never: 'there' },
          containers: [{ name: component, image: `serval/${component}:0.1.0` }],
        },
      },
    });
    const made = (kind: string, component: string, more: object): Promise<void> =>
      this.make(`/apis/apps/v1/namespaces/${namespace}/${kind}`, {
        metadata: { name: `serval-${component}`, labels: labels(component) },
        spec: { ...template(component), ...more },
      });
    await made('deployments', 'operator', { replicas: 2 });
    await made('daemonsets', 'agent', {});
  }

  /** What the operator and the agents say of it. */
  async tell(name: string, status: object): Promise<void> {
    await this.patch(`${migrations}/${name}/status`, { status });
  }

  /** The operator's finalizer, by which a deleted one stays until it is taken off. */
  async hold(name: string, finalizers: string[]): Promise<void> {
    await this.patch(`${migrations}/${name}`, { metadata: { finalizers } });
  }

  read(name: string): Promise<ServalMigration> {
    return this.client.request<ServalMigration>({ path: `${migrations}/${name}` });
  }

  list(): Promise<{ items: ServalMigration[] }> {
    return this.client.request<{ items: ServalMigration[] }>({ path: migrations });
  }

  /** What it holds within 20 s. */
  async until<Value>(what: string, look: () => Promise<Value | undefined>): Promise<Value> {
    let last: unknown;
    for (const until = performance.now() + 20_000; performance.now() < until; await delay(20)) {
      const found = await look().catch((error: unknown) => void (last = error));
      if (found !== undefined) return found;
    }
    throw new Error(`not within 20 s: ${what} (${String(last)})`);
  }
}

/** Ended: of the operator. */
export function ended(phase: 'Succeeded' | 'Failed' | 'Aborted', message: string): object {
  const now = new Date().toISOString();
  const status = phase === 'Succeeded' ? 'True' : 'False';
  return {
    phase,
    finishedAt: now,
    conditions: [{ type: 'Succeeded', status, reason: phase, message, lastTransitionTime: now }],
  };
}
