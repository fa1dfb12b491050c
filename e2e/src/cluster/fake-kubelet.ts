/**
 * Stands for the kubelets of all nodes, as far as the API shows them: a pod that is put on a node runs and is Ready a moment
 * later, one that is deleted goes. A target pod's containers are held back until the test says that its workload has arrived.
 */
import {
  Reflector,
  type KubeClient,
  type KubeObject,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';

export interface ClusterPod extends KubeObject {
  metadata: KubeObject['metadata'] & { ownerReferences?: Array<{ kind: string; name: string }> };
  spec: { nodeName?: string; schedulerName?: string };
  status: { phase?: string; podIP?: string };
}

export class FakeKubelet {
  /** every pod that there ever was, and when it went: names in their order */
  readonly made: string[] = [];
  readonly deleted: string[] = [];
  private readonly arrived = new Set<string>();
  private readonly unready = new Set<string>();
  private readonly reflector: Reflector;
  /** by identity of the pod: it has one for life */
  private readonly addresses = new Map<string, string>();
  readonly errors: unknown[] = [];

  private readonly path: string;

  constructor(
    private readonly client: KubeClient,
    private readonly namespace = 'default',
  ) {
    this.path = `/api/v1/namespaces/${namespace}/pods`;
    this.reflector = new Reflector({
      client,
      path: this.path,
      onChange: (change) => this.changed(change),
      onError: (error) => this.errors.push(error),
    });
  }

  start(): Promise<void> {
    return this.reflector.start();
  }
  stop(): Promise<void> {
    return this.reflector.stop();
  }

  pods(): ClusterPod[] {
    return [...this.reflector.values()] as ClusterPod[];
  }

  pod(name: string): ClusterPod | undefined {
    return this.reflector.get(`${this.namespace}/${name}`) as ClusterPod | undefined;
  }

  /** The workload of this target pod has come: its containers run; with `ready` false the pod is not Ready yet. */
  async arrive(name: string, ready = true): Promise<void> {
    this.arrived.add(name);
    if (ready) this.unready.delete(name);
    else this.unready.add(name);
    const pod = this.pod(name);
    if (pod !== undefined) await this.run(pod);
  }

  private changed({ type, object }: ObjectChange): void {
    const pod = object as ClusterPod;
    const { name, deletionTimestamp } = pod.metadata;
    if (type === 'added') this.made.push(name);
    if (type === 'deleted') return void this.deleted.push(name);
    if (pod.spec.nodeName === undefined) return;
    const work = deletionTimestamp === undefined ? this.run(pod) : this.end(pod);
    work.catch((error: unknown) => this.errors.push(error));
  }

  private async run({ metadata, status }: ClusterPod): Promise<void> {
    const { name } = metadata;
    const isHeld = metadata.annotations?.['serval.io/holds'] !== undefined && !this.arrived.has(name);
    const ready = this.unready.has(name) ? 'False' : 'True';
    const now = (status as { conditions?: Array<{ type: string; status: string }> }).conditions;
    if (isHeld || now?.find(({ type }) => type === 'Ready')?.status === ready) return;
    const ip = this.addressOf(metadata.uid ?? '');
    const startedAt = new Date().toISOString();
    await this.client.request({
      method: 'PATCH',
      path: `${this.path}/${name}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: {
        status: {
          phase: 'Running',
          podIP: ip,
          podIPs: [{ ip }],
          conditions: [{ type: 'Ready', status: ready, lastTransitionTime: startedAt }],
          containerStatuses: [
            {
              name: 'main',
              image: 'x',
              imageID: 'x',
              ready: ready === 'True',
              restartCount: 0,
              containerID: `containerd://${metadata.uid}`,
              state: { running: { startedAt } },
            },
          ],
        },
      },
    });
  }

  private addressOf(uid: string): string {
    const address = this.addresses.get(uid) ?? `10.9.0.${this.addresses.size + 1}`;
    this.addresses.set(uid, address);
    return address;
  }

  private async end({ metadata }: ClusterPod): Promise<void> {
    await this.client
      .request({
        method: 'DELETE',
        path: `${this.path}/${metadata.name}`,
        body: { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } },
      })
      .catch(() => undefined); // somebody else was quicker
  }
}
