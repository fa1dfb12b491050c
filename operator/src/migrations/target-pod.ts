/**
 * Pure: the pod that takes a workload in, made from the pod that it is in. It runs the same containers; labels and owners it
 * gets when the workload is there, so that no Service and no ReplicaSet sees it before.
 */
import { objectName, type ObjectMeta, type ServalMigration } from '@serval/api';
import type { OwnerReference } from '../kube-types.js';
import { deletionCost, mirrorAnnotation, type Pod } from '../pods/pod.js';
import { annotations, baseName, migrationId, runtimeClass } from './names.js';
import { lowestCost } from './finishing.js';

type Fields = Record<string, unknown>;

/** A pod as the API server has it, whole. */
export interface WholePod {
  metadata: ObjectMeta & { ownerReferences?: OwnerReference[] };
  spec: Fields & { containers: Fields[]; initContainers?: Fields[]; affinity?: Affinity; hostname?: string };
}

interface Affinity extends Fields {
  nodeAffinity?: Fields & { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms: Term[] } };
}

interface Term {
  matchExpressions?: Fields[];
  matchFields?: Fields[];
}

/** What a target pod keeps for later, in the annotation `serval.io/holds`. */
export interface Holds {
  labels?: Record<string, string>;
  ownerReferences?: OwnerReference[];
}

export function targetPod(source: WholePod, migration: ServalMigration, nodes: readonly string[]): object {
  const { namespace = 'default', labels, ownerReferences } = source.metadata;
  const holds: Holds = {
    ...(labels === undefined ? {} : { labels }),
    ...(ownerReferences === undefined ? {} : { ownerReferences: ownerReferences.map(notBlocking) }),
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: migration.status?.targetPod,
      namespace,
      annotations: {
        ...carried(source.metadata.annotations),
        [annotations.migration]: objectName(migration),
        [annotations.id]: migrationId(migration),
        [annotations.name]: baseName(source as unknown as Pod),
        [annotations.affinity]: JSON.stringify(wishedAffinity(source)),
        [annotations.holds]: JSON.stringify(holds),
      },
    },
    spec: specOf(source, nodes),
  };
}

/** With it, whoever sets the reference needs a right to the owner's finalizers. */
function notBlocking(owner: OwnerReference): OwnerReference {
  return without(owner as unknown as Fields, ['blockOwnerDeletion']) as unknown as OwnerReference;
}

/** Set by CNI plugins and others, of this one pod: with them its addresses would be asked for again. */
const ownAnnotations = [
  /^cni\.projectcalico\.org\/(podIPs?|containerID)$/,
  /^k8s\.v1\.cni\.cncf\.io\/networks?-status$/,
  /^k8s\.ovn\.org\/pod-networks$/,
  /^[^/]*kubernetes\.io\/(ip_address|mac_address|allocated|routed|logical_switch|logical_router|cidr|gateway)$/,
  /^kubernetes\.io\/config\./,
];

function carried(all: Record<string, string> = {}): Record<string, string> {
  const kept = Object.entries(all).filter(
    ([key, value]) =>
      key !== mirrorAnnotation &&
      // Whatever an earlier move has left; what the user has said goes along.
      (!key.startsWith('serval.io/') || key === annotations.mover || key === annotations.trackUdp) &&
      !(key === deletionCost && value === lowestCost) &&
      !ownAnnotations.some((pattern) => pattern.test(key)),
  );
  return Object.fromEntries(kept);
}

/** A scheduler chooses, admission computes: what they have set would be refused or held against them. */
const ofTheSource = [
  ...['nodeName', 'ephemeralContainers', 'priority', 'preemptionPolicy', 'schedulingGates'],
  'overhead',
];
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function specOf({ metadata, spec }: WholePod, nodes: readonly string[]): Fields {
  const hostname = spec.hostname ?? metadata.name;
  return {
    ...without(spec, ofTheSource),
    runtimeClassName: runtimeClass,
    // Processes go on believing that they are where they were.
    ...(label.test(hostname) ? { hostname } : {}),
    containers: spec.containers.map(started),
    ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(started) }),
    affinity: affinityTo(wishedAffinity({ metadata, spec }), nodes),
  };
}

/** It has started long ago: nothing of its start is done, or waited for, again. */
function started(container: Fields): Fields {
  const result = without(container, ['startupProbe']);
  for (const probe of ['livenessProbe', 'readinessProbe'])
    if (result[probe] !== undefined) result[probe] = { ...(result[probe] as Fields), initialDelaySeconds: 0 };
  if (result['lifecycle'] !== undefined)
    result['lifecycle'] = without(result['lifecycle'] as Fields, ['postStart']);
  return result;
}

/** So many nodes can be named one by one, which holds whatever their labels are. */
const mostTerms = 256;

/** Without the nodes that an earlier move has named. */
function wishedAffinity({ metadata, spec }: WholePod): Affinity {
  const before = metadata.annotations?.[annotations.affinity];
  return before === undefined ? (spec.affinity ?? {}) : (JSON.parse(before) as Affinity);
}

/** One of these nodes, and what the source asked for besides. Terms are alternatives; what is in one term must all be so. */
function affinityTo(affinity: Affinity, nodes: readonly string[]): Affinity {
  const required = affinity.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required?.nodeSelectorTerms ?? [{}];
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: withNodes(terms, nodes) },
    },
  };
}

function withNodes(terms: readonly Term[], nodes: readonly string[]): Term[] {
  if (terms.length * nodes.length > mostTerms) {
    const among = { key: 'kubernetes.io/hostname', operator: 'In', values: nodes };
    return terms.map((term) => ({ ...term, matchExpressions: [...(term.matchExpressions ?? []), among] }));
  }
  return terms.flatMap((term) =>
    nodes.map((node) => ({
      ...term,
      // Kubernetes allows one value here, and no more.
      matchFields: [...(term.matchFields ?? []), { key: 'metadata.name', operator: 'In', values: [node] }],
    })),
  );
}

function without<Value extends Fields>(value: Value, keys: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}
