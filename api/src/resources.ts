/** The resources of group serval.io, and what is used of Kubernetes' own, as it and the files of directory mode hold them. */
import type {
  moverValues,
  ServalMigrationSpec,
  ServalMigrationStatus,
  ServalNodeSpec,
  ServalNodeStatus,
  ServalServiceSpec,
  ServalServiceStatus,
} from './crds.generated.js';

export const apiVersion = 'serval.io/v1alpha1';
/** Of Kubernetes' own EndpointSlices. */
export const discoveryVersion = 'discovery.k8s.io/v1';

export interface ObjectMeta {
  /** DNS subdomain: lower-case letters, digits, `-` and `.` */
  name: string;
  /** of namespaced kinds only; `default` where a file doesn't say */
  namespace?: string;
  /** given when the object is created by an agent; tells it from a later one of the same name */
  uid?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** RFC 3339 */
  creationTimestamp?: string;
  /** in Kubernetes: which state of the object this is */
  resourceVersion?: string;
  /** in Kubernetes: how often its spec was changed */
  generation?: number;
  /** in Kubernetes, RFC 3339: somebody wants it gone, and goes when `finalizers` is empty */
  deletionTimestamp?: string;
  finalizers?: string[];
}

/** `status` is written by agents only: `apply` and files don't carry it. */
export interface Resource<Name extends string, Spec, Status = Record<string, unknown>> {
  apiVersion: typeof apiVersion;
  kind: Name;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}

export type ServalNode = Resource<'ServalNode', ServalNodeSpec, ServalNodeStatus>;

/** What moves a workload: `criu` (processes of a pod), `external` (somebody else's mover). */
export type MoverName = (typeof moverValues)[number];

/** Directory mode only: in Kubernetes the pod itself says all that. */
export interface ServalPodSpec {
  /** the ServalNode that hosts it */
  node: string;
  /** path of its network namespace */
  netns: string;
  /** devices that lead out of it; files may leave it out: [eth0] */
  interfaces: string[];
  /** its addresses on the wire */
  addresses: string[];
  /** processes of the host's own namespace */
  hostNetwork?: boolean;
  /** also find the sessions of its unconnected UDP sockets */
  trackUdp?: boolean;
  /** guests are behind its devices (a VM, containers behind a bridge): their flows to services are resolved packet by packet */
  guests?: boolean;
  mover?: MoverName;
  /** drawn when the workload came to life, kept over all its moves */
  uid?: string;
  process?: {
    /** holds the pod's namespaces */
    pausePid: number;
    /** root of the process tree */
    pid: number;
    cgroup: string;
  };
  /** addresses that its sockets may be bound to from earlier places */
  identityAddresses?: string[];
  /** how often it was moved */
  epoch?: number;
}
export type ServalPod = Resource<'ServalPod', ServalPodSpec>;

export type ServalMigration = Resource<'ServalMigration', ServalMigrationSpec, ServalMigrationStatus>;
/** One phase on the migration's own clock; phases may overlap. */
export type TimelinePhase = NonNullable<ServalMigrationStatus['timeline']>[number];
export type Condition = NonNullable<ServalMigrationStatus['conditions']>[number];

export type ServalService = Resource<'ServalService', ServalServiceSpec, ServalServiceStatus>;
export type ServalServicePort = ServalServiceSpec['ports'][number];

/** Kubernetes' own (discovery.k8s.io/v1), of which these fields are used. Has no `spec`. */
export interface EndpointSlice {
  apiVersion: typeof discoveryVersion;
  kind: 'EndpointSlice';
  /** label `kubernetes.io/service-name` says whose it is */
  metadata: ObjectMeta;
  addressType: 'IPv4' | 'IPv6' | 'FQDN';
  endpoints: Array<{
    /** one is used: the first */
    addresses: string[];
    /** absent: ready; `serving` and `terminating`: draining */
    conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean };
    nodeName?: string;
    zone?: string;
    targetRef?: { kind?: string; name?: string; namespace?: string; uid?: string };
  }>;
  ports?: Array<{ name?: string; port?: number; protocol?: 'TCP' | 'UDP' | 'SCTP' }>;
}

/** Whose an EndpointSlice is. */
export const serviceNameLabel = 'kubernetes.io/service-name';

export interface Kinds {
  ServalNode: ServalNode;
  ServalPod: ServalPod;
  ServalMigration: ServalMigration;
  ServalService: ServalService;
  EndpointSlice: EndpointSlice;
}
export type Kind = keyof Kinds;

export interface KindFacts {
  apiVersion: typeof apiVersion | typeof discoveryVersion;
  namespaced: boolean;
}

export const kinds: Readonly<Record<Kind, KindFacts>> = {
  ServalNode: { apiVersion, namespaced: false },
  ServalPod: { apiVersion, namespaced: true },
  ServalMigration: { apiVersion, namespaced: true },
  ServalService: { apiVersion, namespaced: true },
  EndpointSlice: { apiVersion: discoveryVersion, namespaced: true },
};

/** An object's name among those of its kind: `namespace/name` of namespaced kinds, else `name`. */
export function objectName({ kind, metadata }: { kind: string; metadata: ObjectMeta }): string {
  return kind in kinds && kinds[kind as Kind].namespaced
    ? `${metadata.namespace ?? 'default'}/${metadata.name}`
    : metadata.name;
}

/** How a migration ended, or undefined while it runs. */
export function migrationResult({ status }: ServalMigration): 'succeeded' | 'failed' | undefined {
  if (status?.finishedAt === undefined) return undefined;
  const succeeded = status.conditions?.find(({ type }) => type === 'Succeeded');
  return succeeded?.status === 'True' ? 'succeeded' : 'failed';
}

/** What it moves: `namespace/name`. */
export function workloadOf({ metadata, spec }: ServalMigration): string {
  return `${metadata.namespace ?? 'default'}/${spec.workload.name}`;
}

/** What its clients name: in Kubernetes as the Service of the same name has them. */
export function virtualIPsOf({ spec, status }: ServalService): readonly string[] {
  return status?.virtualIPs ?? spec.virtualIPs ?? [];
}
