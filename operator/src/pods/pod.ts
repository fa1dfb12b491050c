/** Pure: what is kept of each pod of the cluster. There may be 150,000, so only what is used. */
import type { ObjectMeta } from '@serval/api';
import type { KubeObject } from '@serval/kube-runtime/kubernetes';
import type { OwnerReference } from '../kube-types.js';

export interface PodCondition {
  type: string;
  status: string;
  message?: string;
}

export interface Pod {
  metadata: ObjectMeta & { ownerReferences?: OwnerReference[] };
  spec: { nodeName?: string; hostNetwork?: boolean; runtimeClassName?: string };
  status: { phase?: string; podIPs?: Array<{ ip: string }>; conditions?: PodCondition[] };
}

/** Of a static pod: the kubelet's own copy in the API. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';
export const deletionCost = 'controller.kubernetes.io/pod-deletion-cost';

const keptConditions = new Set(['Ready', 'PodScheduled']);
const isKept = (annotation: string): boolean =>
  annotation.startsWith('serval.io/') || annotation === mirrorAnnotation || annotation === deletionCost;

/** As a Reflector keeps it. */
export function trimmed(object: KubeObject): KubeObject {
  const { metadata, spec = {}, status = {} } = object as Partial<Pod> & KubeObject;
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels } = metadata;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => isKept(key));
  const pod = {
    metadata: {
      ...{ name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, labels },
      ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
      ownerReferences: metadata.ownerReferences,
    },
    spec: {
      nodeName: spec.nodeName,
      hostNetwork: spec.hostNetwork,
      runtimeClassName: spec.runtimeClassName,
    },
    status: {
      phase: status.phase,
      podIPs: status.podIPs,
      conditions: status.conditions?.filter(({ type }) => keptConditions.has(type)).map(condition),
    },
  };
  return pod as unknown as KubeObject;
}

/** Messages are of use only where something is not so. */
function condition({ type, status, message }: PodCondition): PodCondition {
  return { type, status, ...(message === undefined || status === 'True' ? {} : { message }) };
}

export function podCondition({ status }: Pod, type: string): PodCondition | undefined {
  return status.conditions?.find((each) => each.type === type);
}

export function isReady(pod: Pod): boolean {
  return pod.status.phase === 'Running' && podCondition(pod, 'Ready')?.status === 'True';
}

/** It has ended, or is about to. */
export function isGoing({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp !== undefined || status.phase === 'Failed' || status.phase === 'Succeeded'
  );
}

/** Who counts it: there is one at most. */
export function controllerOf({ metadata }: Pod): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}
