/**
 * An API server in memory, as far as migrations need one: pods, ServalMigrations, Nodes, versions, preconditions and
 * finalizers. Copies are as old as the test leaves them. It may die in the middle of a request, before or after it was done.
 */
import { apiVersion, ServalError, type ServalMigration, type ServalNode } from '@serval/api';
import type { KubeObject, KubeRequest, MetadataPatch } from '@serval/kube-runtime/kubernetes';
import type { Pod } from '../pods/pod.js';
import { trimmed } from '../pods/pod.js';
import type { MigrationStore, PodCopies } from './actions.js';

type AnyObject = KubeObject & { spec?: unknown; status?: unknown };

/** The process ends here. */
export class Killed extends Error {}

export class FakeCluster {
  readonly pods = new Map<string, AnyObject & Pod>();
  readonly migrations = new Map<string, ServalMigration>();
  readonly serval = new Map<string, ServalNode>();
  readonly nodes = new Set<string>();
  /** every pod that was made, and every deletion that was asked for, by name */
  readonly made: string[] = [];
  readonly deleted: string[] = [];
  /** called before anything is written */
  beforeWrite: (what: string, object: string) => void = () => undefined;
  /** what Kubernetes says to a new pod */
  refuses: ServalError | undefined;
  private version = 0;
  private left = Infinity;
  private isAfter = false;

  /** The process dies at the request after so many: before it is done, or after. */
  dieAfter(requests: number, isAfter: boolean): void {
    [this.left, this.isAfter] = [requests, isAfter];
  }

  live(): void {
    this.left = Infinity;
  }

  addPod(name: string, pod: Partial<Pod['spec']> & { ownerReferences?: unknown } = {}): AnyObject & Pod {
    const { ownerReferences, ...spec } = pod;
    const made = {
      metadata: {
        name,
        namespace: 'shop',
        uid: `uid-${name}-${this.version}`,
        labels: { app: 'web' },
        ownerReferences,
      },
      spec: { containers: [{ name: 'main' }], nodeName: 'n1', ...spec },
      status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    } as unknown as AnyObject & Pod;
    return this.store(this.pods, `shop/${name}`, made);
  }

  addNode(name: string, ready: 'True' | 'False' | 'Unknown' = 'True'): void {
    this.nodes.add(name);
    const spec = { address: 'x:1', hostAddresses: [], podCIDRs: [] };
    const conditions = [{ type: 'Ready', status: ready, reason: 'x', message: 'x', lastTransitionTime: '' }];
    this.serval.set(name, {
      apiVersion,
      kind: 'ServalNode',
      metadata: { name },
      spec,
      status: { conditions },
    });
  }

  addMigration(name: string, spec: Partial<ServalMigration['spec']> = {}): void {
    const metadata = { name, namespace: 'shop', uid: `uid-${name}`, generation: 1 };
    const object: ServalMigration = {
      ...{ apiVersion, kind: 'ServalMigration', metadata },
      spec: { workload: { name: 'web' }, ...spec },
    };
    this.store(this.migrations, `shop/${name}`, object);
  }

  deleteMigration(key: string): void {
    const migration = this.migrations.get(key);
    if (migration === undefined || migration.metadata.deletionTimestamp !== undefined) return;
    this.put(key, { ...migration, metadata: { ...migration.metadata, deletionTimestamp: 'now' } });
  }

  /** As an agent does. */
  say(key: string, status: NonNullable<ServalMigration['status']>): void {
    const migration = this.migrations.get(key);
    if (migration !== undefined) this.put(key, { ...migration, status: { ...migration.status, ...status } });
  }

  changePod(key: string, change: { spec?: object; status?: object; metadata?: object }): void {
    const pod = this.pods.get(key);
    if (pod === undefined) return;
    const { spec, status, metadata } = pod;
    this.store(this.pods, key, {
      ...pod,
      spec: { ...spec, ...change.spec },
      status: { ...status, ...change.status },
      metadata: { ...metadata, ...change.metadata },
    });
  }

  removePod(key: string): void {
    this.pods.delete(key);
  }

  request(request: KubeRequest): Promise<unknown> {
    return this.mortal(() => this.answer(request));
  }

  async mortal<Answer>(work: () => Answer): Promise<Answer> {
    await Promise.resolve();
    if (--this.left < 0 && !this.isAfter) throw new Killed();
    const answer = work();
    if (this.left < 0) throw new Killed();
    return answer;
  }

  patchMigration(key: string, patch: MetadataPatch & { status?: object }): ServalMigration {
    const { resourceVersion, status, finalizers, annotations } = patch;
    const before = this.migrations.get(key);
    if (before === undefined) throw answer(404, 'NotFound');
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
      throw answer(409, 'Conflict');
    this.beforeWrite('migration', key);
    const metadata = {
      ...before.metadata,
      ...(finalizers === undefined ? {} : { finalizers }),
      annotations: { ...before.metadata.annotations, ...annotations } as Record<string, string>,
    };
    return this.put(key, { ...before, metadata, status: { ...before.status, ...status } });
  }

  private put(key: string, object: ServalMigration): ServalMigration {
    const stored = this.store(this.migrations, key, object);
    const { deletionTimestamp, finalizers = [] } = object.metadata;
    if (deletionTimestamp !== undefined && finalizers.length === 0) this.migrations.delete(key);
    return stored;
  }

  private store<Value extends { metadata: object }>(
    where: Map<string, Value>,
    key: string,
    object: Value,
  ): Value {
    const metadata = { ...object.metadata, resourceVersion: String(++this.version) };
    const stored = { ...object, metadata };
    where.set(key, stored);
    return stored;
  }

  private answer({ method = 'GET', path, body }: KubeRequest): unknown {
    const [, node] = /^\/api\/v1\/nodes\/(.+)$/.exec(path) ?? [];
    if (node !== undefined) return found(this.nodes.has(node) ? { metadata: { name: node } } : undefined);
    const [, name] = /^\/api\/v1\/namespaces\/shop\/pods\/?(.*)$/.exec(path) ?? [];
    const key = `shop/${name}`;
    if (method === 'POST') return this.create(body as AnyObject & Pod);
    const pod = found(this.pods.get(key));
    if (method === 'DELETE') return this.remove(key, pod, body as { preconditions: { uid: string } });
    if (method === 'PATCH') return this.patch(key, pod, body as { metadata: Partial<Pod['metadata']> });
    return pod;
  }

  private create(pod: AnyObject & Pod): unknown {
    const key = `shop/${pod.metadata.name}`;
    if (this.refuses !== undefined) throw this.refuses;
    if (this.pods.has(key)) throw answer(409, 'AlreadyExists');
    this.beforeWrite('create', pod.metadata.name);
    this.made.push(pod.metadata.name);
    const metadata = { ...pod.metadata, uid: `uid-${pod.metadata.name}-${this.version}` };
    return this.store(this.pods, key, { ...pod, metadata, status: { phase: 'Pending' } });
  }

  private remove(
    key: string,
    pod: AnyObject & Pod,
    { preconditions }: { preconditions: { uid: string } },
  ): unknown {
    if (preconditions.uid !== pod.metadata.uid) throw answer(409, 'Conflict');
    this.beforeWrite('delete', pod.metadata.name);
    this.deleted.push(pod.metadata.name);
    const metadata = { ...pod.metadata, deletionTimestamp: 'now' };
    return this.store(this.pods, key, { ...pod, metadata });
  }

  private patch(key: string, pod: AnyObject & Pod, body: { metadata: Partial<Pod['metadata']> }): unknown {
    const { uid, resourceVersion, annotations, ...more } = body.metadata;
    if (uid !== pod.metadata.uid) throw answer(409, 'Conflict');
    if (resourceVersion !== undefined && resourceVersion !== pod.metadata.resourceVersion)
      throw answer(409, 'Conflict');
    this.beforeWrite('patch', pod.metadata.name);
    const all = Object.entries({ ...pod.metadata.annotations, ...annotations } as Record<
      string,
      string | null
    >);
    const kept = all.filter((entry): entry is [string, string] => entry[1] !== null);
    const metadata = { ...pod.metadata, ...more, annotations: Object.fromEntries(kept) };
    return this.store(this.pods, key, { ...pod, metadata });
  }
}

function found<Value>(value: Value | undefined): Value {
  if (value === undefined) throw answer(404, 'NotFound');
  return value;
}

export function answer(status: number, reason: string): ServalError {
  const code = status === 404 ? 'ERR_NOT_FOUND' : 'ERR_CONFLICT';
  return new ServalError(code, { subject: 'x', reason, remedy: 'x', details: { status, reason } });
}

/** What one process knows: copies, which are as old as `catchUp` was called last, but for its own writes. */
export class Copies {
  private pods = new Map<string, KubeObject>();
  private migrations = new Map<string, ServalMigration>();
  private handler: (event: { type: 'added' | 'modified' | 'deleted'; object: ServalMigration }) => void =
    () => undefined;

  constructor(private readonly cluster: FakeCluster) {
    this.catchUp('pods');
    this.catchUp('migrations');
  }

  catchUp(what: 'pods' | 'migrations'): void {
    const { cluster } = this;
    if (what === 'pods')
      this.pods = new Map([...cluster.pods].map(([key, pod]) => [key, trimmed(pod)] as const));
    else {
      const before = this.migrations;
      this.migrations = new Map(cluster.migrations);
      for (const object of this.migrations.values()) this.handler({ type: 'modified', object });
      for (const [key, object] of before)
        if (!this.migrations.has(key)) this.handler({ type: 'deleted', object });
    }
  }

  readonly podCopies: PodCopies = {
    get: (key) => this.pods.get(key),
    take: (object) => void this.pods.set(`shop/${object.metadata.name}`, object),
    bury: (object) => void this.pods.delete(`shop/${object.metadata.name}`),
  };

  get store(): MigrationStore {
    const { cluster } = this;
    const take = (key: string, object: ServalMigration): ServalMigration => {
      this.migrations.set(key, object);
      this.handler({ type: 'modified', object });
      return object;
    };
    const store = {
      get: (kind: string, key: string) =>
        kind === 'ServalNode' ? cluster.serval.get(key) : this.migrations.get(key),
      list: () => [...cluster.serval.values()],
      watch: (_: string, handler: Copies['handler']) => {
        this.handler = handler;
        for (const object of this.migrations.values()) handler({ type: 'added', object });
        return () => undefined;
      },
      patchStatus: async (_: string, key: string, status: object, resourceVersion: string) =>
        take(key, await cluster.mortal(() => cluster.patchMigration(key, { status, resourceVersion }))),
      patchMetadata: async (_: string, key: string, metadata: MetadataPatch) =>
        take(key, await cluster.mortal(() => cluster.patchMigration(key, metadata))),
      read: async (_: string, key: string) => {
        const now = await cluster.mortal(() => cluster.migrations.get(key));
        if (now === undefined) this.migrations.delete(key);
        return now === undefined ? undefined : take(key, now);
      },
    };
    return store as unknown as MigrationStore;
  }
}
