/** The resources of group serval.io, and what is used of Kubernetes' own, as it and the files of directory mode hold them. */

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
}

/** `status` is written by agents only: `apply` and files don't carry it. */
export interface Resource<Name extends string, Spec, Status = Record<string, unknown>> {
  apiVersion: typeof apiVersion;
  kind: Name;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}

export interface ServalNodeSpec {
  /** `host:port` of its agent's signalling */
  address: string;
  /** addresses of the host itself */
  hostAddresses: string[];
  /** ranges that its pods have their addresses from */
  podCIDRs: string[];
  zone?: string;
  region?: string;
}
export type ServalNode = Resource<'ServalNode', ServalNodeSpec>;

/** What moves a workload: `criu` (processes of a pod), `external` (somebody else's mover). */
export const movers = ['criu', 'external'] as const;
export type MoverName = (typeof movers)[number];

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

/** Immutable. */
export interface ServalMigrationSpec {
  /** `namespace/name` */
  workload: string;
  targetNode: string;
  mover?: MoverName;
}

/** One phase on the migration's own clock; phases may overlap. */
export interface TimelinePhase {
  name: string;
  /** from the start of the migration, ms */
  startMs: number;
  durationMs: number;
  /** whether the workload stood still meanwhile */
  frozen: boolean;
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  /** one word in CamelCase, for programs */
  reason: string;
  /** for people */
  message: string;
  /** RFC 3339 */
  lastTransitionTime: string;
}

export interface ServalMigrationStatus {
  phase: string;
  /** 16 hexadecimal digits: names this attempt in agents' logs and messages */
  migration: string;
  /** why it failed or was rolled back */
  reason?: string;
  /** RFC 3339 */
  startedAt: string;
  /** RFC 3339; present when it has ended, one way or the other */
  finishedAt?: string;
  timeline: TimelinePhase[];
  /** flows that were to move */
  flows: number;
  /** flows that did not survive, by reason */
  lost: Record<string, number>;
  /** how long the workload stood still */
  freezeMs?: number;
  /** from the first RSYN to the last acknowledgement */
  switchMs?: number;
  /** packets that were sent again at the switch */
  replayed?: number;
  /** `Succeeded`: Unknown while it runs */
  conditions: Condition[];
}
export type ServalMigration = Resource<'ServalMigration', ServalMigrationSpec, ServalMigrationStatus>;

export const localities = ['Prefer', 'Require', 'Ignore'] as const;
export const balances = ['LeastLoad', 'RoundRobin', 'Hash'] as const;
export const affinities = ['None', 'Client'] as const;
export const ownReplicas = ['Prefer', 'Ignore'] as const;
export const whenEmpties = ['Fail', 'Wait'] as const;

export interface ServalServicePort {
  /** as the EndpointSlices name it; may be left out where there is one port */
  name?: string;
  /** at the virtual IPs */
  port: number;
  protocol?: 'TCP' | 'UDP';
}

export interface ServalServiceSpec {
  /** what DNS gives for its name; in Kubernetes those of the Service of the same name */
  virtualIPs: string[];
  ports: ServalServicePort[];
  /**
   * Prefer (default): the nearest ring (node, zone, region, everywhere), others as far as it is loaded beyond its share.
   * Require: never outside of the zone. Ignore: all replicas alike.
   */
  locality?: (typeof localities)[number];
  /** LeastLoad (default): weights follow the measured load. RoundRobin: in turn. Hash: by client, the same as long as the replicas are. */
  balance?: (typeof balances)[number];
  /** Client: a client keeps its replica for as long as that takes connections */
  affinity?: (typeof affinities)[number];
  /** Prefer: a pod that is a replica itself gets itself. Default: Ignore */
  ownReplica?: (typeof ownReplicas)[number];
  failover?: {
    /** how many replicas one connect() tries, default 3; 1: no failover */
    attempts?: number;
    /** how long a SYN waits for an answer, ms, default 100 */
    synTimeoutMs?: number;
  };
  /** while there is no replica: connect() fails at once (default), or waits */
  whenEmpty?: (typeof whenEmpties)[number];
  /** the longest that a connect() waits for a replica, ms, default 30000 */
  maxDelayMs?: number;
}
/** `status.conditions`: what is wrong with it, in words. */
export type ServalService = Resource<'ServalService', ServalServiceSpec, { conditions?: Condition[] }>;

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
  ServalMigration: { apiVersion, namespaced: false },
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
  const succeeded = status.conditions.find(({ type }) => type === 'Succeeded');
  return succeeded?.status === 'True' ? 'succeeded' : 'failed';
}
