/** Pods as the API server tells of them, cut to what is used here, and the ServalPods that they make. Pure. */
import {
  apiVersion,
  moverValues,
  type MoverName,
  type ObjectMeta,
  type ServalPod,
  type ServalPodSpec,
} from '@serval/api';
import type { KubeObject } from '@serval/kube-runtime/kubernetes';

/** A pod that waits for a workload names the migration that brings it: 16 hexadecimal digits. */
export const waitsFor = 'serval.io/migration-id';
const moverAnnotation = 'serval.io/mover';
const trackUdpAnnotation = 'serval.io/track-udp';
const ownAnnotations = [waitsFor, moverAnnotation, trackUdpAnnotation];

export interface PodObject {
  metadata: Pick<
    ObjectMeta,
    'name' | 'namespace' | 'uid' | 'resourceVersion' | 'deletionTimestamp' | 'annotations'
  >;
  hostNetwork: boolean;
  /** a virtual machine of KubeVirt's runs in it */
  guests: boolean;
  /** nothing runs in it any more, and nothing will */
  over: boolean;
  addresses: string[];
  /** ids of containers that have been made, as the container runtime numbers them */
  containers: string[];
  /** how many of them are the workload's own, and not only there before it starts */
  own: number;
}

interface ContainerStatus {
  containerID?: string;
  state?: { running?: object };
}

interface KubePod extends KubeObject {
  spec?: { hostNetwork?: boolean; containers?: unknown[] };
  status?: {
    phase?: string;
    podIP?: string;
    podIPs?: Array<{ ip: string }>;
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}

/** What is kept of a pod: kilobytes less for each. */
export function podObject(object: KubeObject): PodObject & KubeObject {
  const { metadata, spec = {}, status = {} } = object as KubePod;
  const { phase, podIP, podIPs = podIP === undefined ? [] : [{ ip: podIP }] } = status;
  return {
    metadata: usedMetadata(metadata),
    hostNetwork: spec.hostNetwork === true,
    guests: metadata.labels?.['kubevirt.io'] === 'virt-launcher',
    over: phase === 'Succeeded' || phase === 'Failed',
    addresses: podIPs.map(({ ip }) => ip),
    containers: [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])]
      .filter(({ state }) => state?.running !== undefined)
      .flatMap(({ containerID }) => containerID?.replace(/^.*:\/\//, '') ?? []),
    own: spec.containers?.length ?? 0,
  };
}

function usedMetadata({ name, namespace = 'default', ...rest }: ObjectMeta): PodObject['metadata'] {
  const { uid, resourceVersion, deletionTimestamp } = rest;
  const annotations = Object.entries(rest.annotations ?? {}).filter(([key]) => ownAnnotations.includes(key));
  return {
    name,
    namespace,
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    annotations: Object.fromEntries(annotations),
  };
}

/** Where a pod is on this machine. */
export interface PodPlace {
  netns: string;
  /** who holds its namespaces, and its cgroup */
  holder?: { pid: number; cgroup: string };
  /** what CRIU needs; absent where the pod has not exactly one container, or nobody holds its namespaces */
  process?: NonNullable<ServalPodSpec['process']>;
}

/** A workload that came by a move: what its pod's object doesn't tell. */
export type Arrival = Pick<ServalPodSpec, 'uid' | 'epoch' | 'mover' | 'identityAddresses' | 'process'>;

/** As the agent knows pods of whatever origin. */
export function servalPodOf(
  pod: PodObject,
  { node, place, arrival }: { node: string; place: PodPlace; arrival: Arrival | undefined },
): ServalPod {
  const { name, namespace, uid = '', annotations = {} } = pod.metadata;
  return {
    apiVersion,
    kind: 'ServalPod',
    metadata: { name, namespace: namespace ?? 'default', uid },
    spec: {
      node,
      netns: place.netns,
      interfaces: ['eth0'],
      addresses: pod.addresses,
      ...(pod.guests ? { guests: true } : {}),
      ...(annotations[trackUdpAnnotation] === 'true' ? { trackUdp: true } : {}),
      ...(arrival ?? (isWaiting(pod) ? {} : workloadOf(uid, annotations, place))),
    },
  };
}

/** Made for a workload that another node still has, or has just sent. */
export function isWaiting({ metadata }: PodObject): boolean {
  return metadata.annotations?.[waitsFor] !== undefined;
}

function workloadOf(uid: string, annotations: Record<string, string>, { process }: PodPlace): Arrival {
  const wanted = annotations[moverAnnotation];
  const mover: MoverName | undefined = moverValues.find((known) => known === wanted);
  if (mover === 'external') return { uid, mover };
  return process === undefined ? { uid } : { uid, mover: mover ?? 'criu', process };
}
