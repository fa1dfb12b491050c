/** What is done to pods and to the migration's own metadata. What a write answers is seen here at once. */
import { ServalError, type ServalMigration } from '@serval/api';
import {
  statusOf,
  type KubeClient,
  type KubeObject,
  type KubernetesStore,
} from '@serval/kube-runtime/kubernetes';
import { deletionCost, trimmed } from '../pods/pod.js';
import type { Action } from './decision.js';
import { lowestCost } from './finishing.js';
import { annotations, finalizer } from './names.js';
import { targetPod, type Holds, type WholePod } from './target-pod.js';

/** The pods of the cluster, as a watch keeps them, trimmed. */
export interface PodCopies {
  get(key: string): KubeObject | undefined;
  take(object: KubeObject): void;
  bury(object: KubeObject): void;
}

export type MigrationStore = Pick<
  KubernetesStore,
  'get' | 'list' | 'watch' | 'patchStatus' | 'patchMetadata' | 'read'
>;

export interface ActionDeps {
  client: Pick<KubeClient, 'request'>;
  store: MigrationStore;
  pods: PodCopies;
}

const fieldManager = 'serval-operator';
/** Frozen processes can not say goodbye, and those of a target that is discarded have never run. */
const graceSeconds = 1;

export class Actions {
  constructor(private readonly deps: ActionDeps) {}

  /** @returns why Kubernetes refuses the target pod, where it does */
  async carryOut(action: Action, key: string, migration: ServalMigration): Promise<string | undefined> {
    const { source, target } = podNames(migration);
    switch (action.do) {
      case 'make':
        return this.make(migration, action.nodes);
      case 'yield':
        await this.patchPod(source, { uid: action.uid, annotations: { [deletionCost]: lowestCost } });
        break;
      case 'hand-over':
        await this.handOver(target, action.uid);
        break;
      case 'delete':
        await this.deletePod(action.which === 'source' ? source : target, action.uid);
        break;
      default:
        await this.note(action, key, migration);
    }
    return undefined;
  }

  /** As it is at this moment. */
  async readPod(key: string): Promise<WholePod | undefined> {
    try {
      const pod = await this.deps.client.request<KubeObject>({ path: podPath(key) });
      this.deps.pods.take(trimmed(pod));
      return pod as unknown as WholePod;
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
      const before = this.deps.pods.get(key);
      if (before !== undefined) this.deps.pods.bury(before);
      return undefined;
    }
  }

  private async note(
    action: Action & { do: 'hold' | 'let-go' | 'claim' },
    key: string,
    { metadata }: ServalMigration,
  ): Promise<void> {
    const { resourceVersion = '', finalizers = [] } = metadata;
    const others = finalizers.filter((each) => each !== finalizer);
    const change =
      action.do === 'claim'
        ? { annotations: { [annotations.workload]: action.uid } }
        : { finalizers: action.do === 'hold' ? [...others, finalizer] : others };
    await this.deps.store.patchMetadata('ServalMigration', key, { resourceVersion, ...change });
  }

  private async make(migration: ServalMigration, nodes: readonly string[]): Promise<string | undefined> {
    const { source, target } = podNames(migration);
    const whole = await this.readPod(source);
    // Another one has its name by now: what was read is in the copies, and decides anew.
    if (whole?.metadata.uid !== migration.metadata.annotations?.[annotations.workload]) return undefined;
    const { namespace = 'default' } = migration.metadata;
    try {
      const made = await this.deps.client.request<KubeObject>({
        method: 'POST',
        path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`,
        query: { fieldManager },
        body: targetPod(whole as WholePod, migration, nodes),
      });
      this.deps.pods.take(trimmed(made));
      return undefined;
    } catch (error) {
      if (reasonOf(error) === 'AlreadyExists') await this.readPod(target);
      else if (isRefusal(error)) return error.reason;
      else throw error;
      return undefined;
    }
  }

  private async handOver(key: string, uid: string): Promise<void> {
    const whole = await this.readPod(key);
    const text = whole?.metadata.annotations?.[annotations.holds];
    if (whole?.metadata.uid !== uid || text === undefined) return;
    const { labels = {}, ownerReferences = [] } = JSON.parse(text) as Holds;
    const { resourceVersion } = whole.metadata;
    await this.patchPod(key, {
      ...{ uid, resourceVersion, labels, ownerReferences },
      annotations: { [annotations.holds]: null },
    });
  }

  private async patchPod(key: string, metadata: object): Promise<void> {
    await this.onCopyOf(key, async () => {
      const patched = await this.deps.client.request<KubeObject>({
        method: 'PATCH',
        path: podPath(key),
        query: { fieldManager },
        contentType: 'application/merge-patch+json',
        body: { metadata },
      });
      this.deps.pods.take(trimmed(patched));
    });
  }

  private async deletePod(key: string, uid: string): Promise<void> {
    await this.onCopyOf(key, async () => {
      await this.deps.client.request({
        method: 'DELETE',
        path: podPath(key),
        body: { preconditions: { uid }, gracePeriodSeconds: graceSeconds },
      });
      await this.readPod(key);
    });
  }

  /** Where the copy was old, it is read anew, and there is nothing more to be done about it now. */
  private async onCopyOf(key: string, write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
      await this.readPod(key);
    }
  }
}

export function podNames({ metadata, spec, status }: ServalMigration): { source: string; target: string } {
  const { namespace = 'default' } = metadata;
  return { source: `${namespace}/${spec.workload.name}`, target: `${namespace}/${status?.targetPod ?? ''}` };
}

function podPath(key: string): string {
  const [namespace = '', name = ''] = key.split('/').map(encodeURIComponent);
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}

function reasonOf(error: unknown): unknown {
  return error instanceof ServalError ? error.details['reason'] : undefined;
}

/** It would be refused again: a quota, a policy, a webhook says no. */
function isRefusal(error: unknown): error is ServalError {
  return error instanceof ServalError && [400, 403, 422].includes(statusOf(error) ?? 0);
}
