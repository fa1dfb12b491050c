/** Resources in Kubernetes. Reads come from copies that watches keep up to date; writes go to the API server. */
import {
  kinds as kindFacts,
  objectName,
  ServalError,
  type Kind,
  type Kinds,
  type ObjectMeta,
} from '@serval/api';
import { crds } from '../crds.generated.js';
import { freeze } from '../documents.js';
import { usedOf } from '../endpoint-slices.js';
import { immutableSpec, statusValidators } from '../schemas.js';
import type { ResourceHandler, ResourceStore, StatusPatch } from '../store.js';
import type { KubeClient } from './client.js';
import { statusOf } from './errors.js';
import { Reflector, type KubeObject, type ObjectChange, type ReflectorTimes } from './reflector.js';

/** ServalPods are of directory mode only. */
export type KubeKind = Exclude<Kind, 'ServalPod'>;

export interface KubernetesOptions {
  client: KubeClient;
  /** which to keep; of those that have a selector, only what it selects */
  kinds: Partial<Record<KubeKind, { labelSelector?: string; fieldSelector?: string }>>;
  /** in whose name fields are owned (server-side apply) */
  fieldManager: string;
  /** what went wrong with a watch; it is tried again */
  onError: (kind: Kind, error: unknown) => void;
  /** what a handler threw */
  onHandlerError?: (kind: Kind, error: unknown) => void;
  times?: Partial<ReflectorTimes>;
}

/** `resourceVersion`: which version it must be; else the change is refused. */
export interface MetadataPatch {
  resourceVersion?: string;
  finalizers?: string[];
  annotations?: Record<string, string | null>;
}

type Handler = (change: ObjectChange) => void;
type AnyObject = Kinds[KubeKind];

const plurals: Readonly<Record<KubeKind, string>> = {
  ServalNode: crds.ServalNode.plural,
  ServalMigration: crds.ServalMigration.plural,
  ServalService: crds.ServalService.plural,
  EndpointSlice: 'endpointslices',
};

export class KubernetesStore implements ResourceStore {
  private readonly reflectors = new Map<Kind, Reflector>();
  private readonly handlers = new Map<Kind, Set<Handler>>();

  private constructor(private readonly options: KubernetesOptions) {
    for (const [kind, selectors] of Object.entries(options.kinds) as Array<[KubeKind, object]>)
      this.reflectors.set(
        kind,
        new Reflector({
          client: options.client,
          path: collection(kind),
          ...selectors,
          shape: (object) => shaped(kind, object),
          onChange: (change) => this.tell(kind, change),
          onError: (error) => options.onError(kind, error),
          ...(options.times === undefined ? {} : { times: options.times }),
        }),
      );
  }

  /** Resolves when everything was listed once, however long the API server takes. */
  static async open(options: KubernetesOptions): Promise<KubernetesStore> {
    const store = new KubernetesStore(options);
    await Promise.all([...store.reflectors.values()].map((reflector) => reflector.start()));
    return store;
  }

  list<Name extends Kind>(kind: Name): Array<Kinds[Name]> {
    return [...this.reflector(kind).values()] as unknown as Array<Kinds[Name]>;
  }

  get<Name extends Kind>(kind: Name, name: string): Kinds[Name] | undefined {
    return this.reflector(kind).get(name) as Kinds[Name] | undefined;
  }

  watch<Name extends Kind>(kind: Name, handler: ResourceHandler<Name>): () => void {
    const reflector = this.reflector(kind);
    const handlers = this.handlers.get(kind) ?? new Set();
    this.handlers.set(kind, handlers);
    const own: Handler = ({ type, object }) => {
      try {
        handler({ type, object: object as unknown as Kinds[Name] });
      } catch (error) {
        (this.options.onHandlerError ?? this.options.onError)(kind, error);
      }
    };
    handlers.add(own);
    for (const object of reflector.values()) own({ type: 'added', object });
    return () => handlers.delete(own);
  }

  /** Server-side apply: what others have set beside is theirs, and stays. */
  async apply<Name extends Kind>(object: Kinds[Name]): Promise<Kinds[Name]> {
    const wanted = object as AnyObject;
    const kind = known(wanted.kind);
    const { name, namespace, labels, annotations } = wanted.metadata;
    const metadata: ObjectMeta = {
      name,
      ...(kindFacts[kind].namespaced ? { namespace: namespace ?? 'default' } : {}),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    };
    try {
      return this.written<Name>(
        kind,
        await this.options.client.request<KubeObject>({
          method: 'PATCH',
          path: pathOf(kind, objectName({ kind, metadata })),
          query: { fieldManager: this.options.fieldManager, force: true, fieldValidation: 'Strict' },
          contentType: 'application/apply-patch+yaml',
          body: { ...without(wanted, 'status'), metadata },
        }),
      );
    } catch (error) {
      throw immutableSpec.has(kind) ? asConflict(error) : error;
    }
  }

  /** @param onlyIf the version that the object must still have: else ERR_CONFLICT */
  async patchStatus<Name extends Kind>(
    kind: Name,
    name: string,
    status: StatusPatch<Name>,
    onlyIf?: string,
  ): Promise<Kinds[Name]> {
    const own = known(kind);
    if (own === 'EndpointSlice') throw withoutStatus(name);
    const metadata = onlyIf === undefined ? {} : { metadata: { resourceVersion: onlyIf } };
    return this.merged<Name>(own, `${pathOf(own, name)}/status`, { ...metadata, status });
  }

  /**
   * Change what is said of the object beside its spec and status. `null` removes.
   * @throws ServalError ERR_NOT_FOUND; ERR_CONFLICT where it is another version by now
   */
  patchMetadata<Name extends KubeKind>(
    kind: Name,
    name: string,
    metadata: MetadataPatch,
  ): Promise<Kinds[Name]> {
    return this.merged<Name>(kind, pathOf(kind, name), { metadata });
  }

  /** As it is at this moment, not as a watch has told; readers here see that too. Undefined where there is none. */
  async read<Name extends KubeKind>(kind: Name, name: string): Promise<Kinds[Name] | undefined> {
    try {
      return this.written<Name>(
        kind,
        await this.options.client.request<KubeObject>({ path: pathOf(kind, name) }),
      );
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
      const before = this.reflectors.get(kind)?.get(name);
      if (before !== undefined) this.reflector(kind).bury(before);
      return undefined;
    }
  }

  async delete(kind: Kind, name: string): Promise<boolean> {
    const own = known(kind);
    const before = this.reflector(own).get(name);
    try {
      const answer = await this.options.client.request<KubeObject & { kind: string }>({
        method: 'DELETE',
        path: pathOf(own, name),
      });
      // One with finalizers is still there, and comes back as it is.
      if (answer.kind === kind && answer.metadata.deletionTimestamp)
        this.reflector(own).take(shaped(own, answer));
      else if (before !== undefined) this.reflector(own).bury(before);
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw error;
    }
  }

  /** How old the copies may be: the longest that one of the watches has said nothing, ms. */
  silentFor(): number {
    return Math.max(0, ...[...this.reflectors.values()].map((reflector) => reflector.silentFor()));
  }

  async close(): Promise<void> {
    await Promise.all([...this.reflectors.values()].map((reflector) => reflector.stop()));
  }

  private async merged<Name extends Kind>(kind: KubeKind, path: string, body: unknown): Promise<Kinds[Name]> {
    return this.written<Name>(
      kind,
      await this.options.client.request<KubeObject>({
        method: 'PATCH',
        path,
        query: { fieldManager: this.options.fieldManager },
        // Said on each request: the client library takes JSON patch for what it does not know.
        contentType: 'application/merge-patch+json',
        body,
      }),
    );
  }

  private written<Name extends Kind>(kind: KubeKind, answer: KubeObject): Kinds[Name] {
    const object = shaped(kind, answer);
    this.reflectors.get(kind)?.take(object);
    return object as unknown as Kinds[Name];
  }

  private tell(kind: Kind, change: ObjectChange): void {
    for (const handler of this.handlers.get(kind) ?? []) handler(change);
  }

  private reflector(kind: Kind): Reflector {
    const reflector = this.reflectors.get(kind);
    if (reflector !== undefined) return reflector;
    throw new ServalError('ERR_UNSUPPORTED', {
      subject: kind,
      reason: 'this store keeps no copy of its objects',
      remedy: 'Name it among the kinds of the store',
    });
  }
}

/** Whole, but for what nobody reads; of EndpointSlices what is used. Frozen, since all readers share it. */
function shaped(kind: KubeKind, object: KubeObject): KubeObject {
  const metadata = without(object.metadata, 'managedFields');
  // Items of a list don't say what they are.
  if (kind !== 'EndpointSlice')
    return freeze({ ...object, apiVersion: kindFacts[kind].apiVersion, kind, metadata });
  const slice = usedOf(object, metadata.namespace ?? 'default');
  const { resourceVersion } = metadata;
  return freeze({
    ...slice,
    metadata: { ...slice.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
  });
}

function without<Value extends object>(value: Value, key: string): Value {
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key)) as Value;
}

/** That a spec may not change is one of its CRD's rules: the API server calls it invalid. */
function asConflict(error: unknown): unknown {
  if (!(error instanceof ServalError) || statusOf(error) !== 422) return error;
  const causes = (error.details['causes'] ?? []) as Array<{ field?: string }>;
  if (!causes.some(({ field }) => field === 'spec')) return error;
  const { subject, reason, remedy, details } = error;
  return new ServalError('ERR_CONFLICT', { subject, reason, remedy, details, cause: error });
}

function withoutStatus(name: string): ServalError {
  const [problem] = statusValidators.EndpointSlice(undefined);
  return new ServalError('ERR_BAD_INPUT', {
    subject: `EndpointSlice ${name}`,
    reason: problem?.reason ?? '',
    remedy: problem?.remedy ?? '',
  });
}

function known(kind: Kind): KubeKind {
  if (kind !== 'ServalPod') return kind;
  throw new ServalError('ERR_UNSUPPORTED', {
    subject: kind,
    reason: 'in Kubernetes the pod itself says all that',
    remedy: 'Change the Pod',
  });
}

function collection(kind: KubeKind): string {
  return `/apis/${kindFacts[kind].apiVersion}/${plurals[kind]}`;
}

function pathOf(kind: KubeKind, name: string): string {
  const { apiVersion, namespaced } = kindFacts[kind];
  const [first = '', second] = name.split('/').map(encodeURIComponent);
  return namespaced
    ? `/apis/${apiVersion}/namespaces/${first}/${plurals[kind]}/${second ?? ''}`
    : `/apis/${apiVersion}/${plurals[kind]}/${first}`;
}
