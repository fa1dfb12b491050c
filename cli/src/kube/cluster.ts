/** The cluster that commands speak to, behind a face small enough for tests to be one; and how it is asked. */
import { ServalError } from '@serval/api';
import type { ExecRequest, ExecResult, KubeRequest, ObjectChange } from '@serval/kube-runtime/kubernetes';

/** As the generated schemas have them. */
export type OwnCrds = Readonly<Record<string, { plural: string; spec: unknown; status: unknown }>>;

export interface ClusterOptions {
  kubeconfig?: string;
  context?: string;
  namespace?: string;
}

export interface Cluster {
  /** that was asked for, or the context's */
  readonly namespace: string;
  /** of the kubeconfig; empty in a pod */
  readonly context: string;
  readonly contexts: readonly string[];
  readonly server: string;
  /** the CRDs of this version, which those of the cluster are held against */
  readonly ownCrds: OwnCrds;
  /** @throws ServalError */
  request<Answer = unknown>(request: KubeRequest): Promise<Answer>;
  /** Lines of a text, to its end. @throws ServalError */
  lines(request: KubeRequest & { signal: AbortSignal }): AsyncIterable<string>;
  watch(options: WatchOptions): Watch;
  /** @throws ServalError where the command could not be run */
  exec(request: ExecRequest): Promise<ExecResult>;
  close(): Promise<void>;
}

export interface WatchOptions {
  /** of the collection */
  path: string;
  fieldSelector?: string;
  onChange: (change: ObjectChange) => void;
  /** it is tried again */
  onError: (error: unknown) => void;
}

export interface Watch {
  /** all that was there has been told */
  begun: Promise<void>;
  stop(): Promise<void>;
}

export type OpenCluster = (options: ClusterOptions, version: string) => Promise<Cluster>;

// --- paths

const serval = '/apis/serval.io/v1alpha1';

/** Of a collection, in one namespace or, undefined, in all. */
function collection(group: string, plural: string, namespace?: string): string {
  return namespace === undefined
    ? `${group}/${plural}`
    : `${group}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
}

export const paths = {
  migrations: (namespace?: string) => collection(serval, 'servalmigrations', namespace),
  services: (namespace?: string) => collection(serval, 'servalservices', namespace),
  servalNodes: () => collection(serval, 'servalnodes'),
  slices: (namespace?: string) => collection('/apis/discovery.k8s.io/v1', 'endpointslices', namespace),
  pods: (namespace?: string) => collection('/api/v1', 'pods', namespace),
  events: (namespace?: string) => collection('/api/v1', 'events', namespace),
  nodes: () => collection('/api/v1', 'nodes'),
  namespaces: () => collection('/api/v1', 'namespaces'),
  leases: (namespace?: string) => collection('/apis/coordination.k8s.io/v1', 'leases', namespace),
  deployments: (namespace?: string) => collection('/apis/apps/v1', 'deployments', namespace),
  daemonSets: (namespace?: string) => collection('/apis/apps/v1', 'daemonsets', namespace),
  signingRequests: () => collection('/apis/certificates.k8s.io/v1', 'certificatesigningrequests'),
  crds: () => collection('/apis/apiextensions.k8s.io/v1', 'customresourcedefinitions'),
} as const;

export function one(path: string, name: string): string {
  return `${path}/${encodeURIComponent(name)}`;
}

// --- requests

export interface Selectors {
  labelSelector?: string;
  fieldSelector?: string;
}

const pageSize = 500;
const listMs = 60_000;

interface Page<Item> {
  metadata?: { continue?: string };
  items?: Item[] | null;
}

export async function list<Item>(cluster: Cluster, path: string, selectors: Selectors = {}): Promise<Item[]> {
  const found: Item[] = [];
  let next: string | undefined;
  do {
    const query = { ...selectors, limit: pageSize, continue: next };
    const page: Page<Item> = await cluster.request<Page<Item>>({ path, query, timeoutMs: listMs });
    found.push(...(page.items ?? []));
    next = page.metadata?.continue === '' ? undefined : page.metadata?.continue;
  } while (next !== undefined);
  return found;
}

/** Undefined where there is no such object. */
export async function find<Thing>(cluster: Cluster, path: string, name: string): Promise<Thing | undefined> {
  try {
    return await cluster.request<Thing>({ path: one(path, name) });
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** The HTTP status that an error was made from. (kube-runtime has it too, but is not loaded before it is needed.) */
export function statusOf(error: unknown): number | undefined {
  return error instanceof ServalError ? (error.details['status'] as number | undefined) : undefined;
}

export function isForbidden(error: unknown): boolean {
  return statusOf(error) === 403;
}

/** In words what was wrong, without a remedy. */
export function reasonOf(error: unknown): string {
  if (error instanceof ServalError) return error.reason;
  return error instanceof Error ? error.message : String(error);
}
