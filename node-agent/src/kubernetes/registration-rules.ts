/** What a node says of itself, made of what Kubernetes says of it. Pure. */
import { isDeepStrictEqual } from 'node:util';
import {
  apiVersion,
  type Condition,
  type ServalNode,
  type ServalNodeSpec,
  type ServalNodeStatus,
} from '@serval/api';
import type { Capability } from '../agent/capabilities.js';
import type { KubeObject } from '@serval/kube-runtime/kubernetes';

/** As the API server has it, of which this is used. */
export interface NodeObject extends KubeObject {
  spec?: { podCIDR?: string; podCIDRs?: string[] };
  status?: { addresses?: Array<{ type: string; address: string }> };
}

const zoneLabel = 'topology.kubernetes.io/zone';
const regionLabel = 'topology.kubernetes.io/region';

/** @returns undefined where nobody could reach it: it has no address yet */
export function nodeSpec({ metadata, spec, status }: NodeObject, port: number): ServalNodeSpec | undefined {
  const byType = (type: string): string[] =>
    (status?.addresses ?? []).filter((each) => each.type === type).map(({ address }) => address);
  const internal = byType('InternalIP');
  const [address] = internal;
  if (address === undefined) return undefined;
  const { [zoneLabel]: zone, [regionLabel]: region } = metadata.labels ?? {};
  const ranges = spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR]);
  return {
    address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    hostAddresses: [...new Set([...internal, ...byType('ExternalIP')])],
    podCIDRs: [...new Set(ranges)],
    ...(zone === undefined ? {} : { zone }),
    ...(region === undefined ? {} : { region }),
  };
}

export function servalNode(name: string, spec: ServalNodeSpec): ServalNode {
  return { apiVersion, kind: 'ServalNode', metadata: { name }, spec };
}

export interface NodeFacts {
  agentVersion: string;
  kernelVersion: string;
  capabilities: Capability[];
}

/** The agent's own part of the status; `now` counts where something else has changed. */
export function nodeStatus(
  { spec, status, metadata }: ServalNode,
  facts: NodeFacts,
  now: string,
): ServalNodeStatus | undefined {
  const { generation } = metadata;
  const ready = condition(spec, facts);
  const before = status?.conditions?.find(({ type }) => type === 'Ready');
  const isSame = before?.status === ready.status;
  const next = {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...facts,
    conditions: [{ ...ready, lastTransitionTime: isSame ? before.lastTransitionTime : now }],
  };
  const isTold = isDeepStrictEqual(status, { ...next, lastSeen: status?.lastSeen });
  return isTold ? undefined : { ...next, lastSeen: now };
}

function condition(
  { podCIDRs }: ServalNodeSpec,
  { capabilities }: NodeFacts,
): Omit<Condition, 'lastTransitionTime'> {
  const broken = capabilities.find(({ name, available }) => name === 'datapath' && !available);
  if (broken !== undefined)
    return {
      type: 'Ready',
      status: 'False',
      reason: 'DataPlane',
      message: broken.message ?? 'the data plane does not work',
    };
  if (podCIDRs.length === 0)
    return {
      type: 'Ready',
      status: 'False',
      reason: 'NoPodCIDRs',
      message:
        'the Node has no spec.podCIDRs, so nobody can tell that its pods are here: let kube-controller-manager allocate them ' +
        '(--allocate-node-cidrs), or the network plugin write them',
    };
  return {
    type: 'Ready',
    status: 'True',
    reason: 'AgentReady',
    message: 'the agent runs, and the data plane works',
  };
}
