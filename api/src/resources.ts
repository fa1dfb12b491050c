/** The resources of group serval.io, as Kubernetes and the files of directory mode hold them. */

export const apiVersion = 'serval.io/v1alpha1';

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

export interface Kinds {
  ServalNode: ServalNode;
  ServalPod: ServalPod;
  ServalMigration: ServalMigration;
}
export type Kind = keyof Kinds;

export const kinds: Readonly<Record<Kind, { namespaced: boolean }>> = {
  ServalNode: { namespaced: false },
  ServalPod: { namespaced: true },
  ServalMigration: { namespaced: false },
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
