/**
 * Pure: what is to be done about the Service of a ServalService's name. One that we made is ours to change. One that was there
 * is adopted, which is to put our label on it and nothing else: who made it goes on managing it. One that another controller
 * has is left alone.
 */
import { apiVersion, type ServalService, type ServalServicePort } from '@serval/api';
import type { OwnerReference } from '../kube-types.js';
import type { KubeService, KubeServicePort } from './kube-types.js';

/**
 * On the Services of ServalServices. Kubernetes' EndpointSlice controller copies the labels of a Service to its slices: by this
 * one agents watch the slices that concern them, and no others.
 */
export const serviceLabel = 'serval.io/service';
export const labelValue = 'true';

/** What is wrong, for the condition Ready. */
export interface Trouble {
  reason: 'ManagedByAnother' | 'ServiceDiffers' | 'NoVirtualIP' | 'ServiceRefused';
  message: string;
}

export type ServicePlan =
  /** there is nothing to do */
  | { do: 'nothing' }
  /** to be applied whole: ours */
  | { do: 'apply'; service: KubeService; isNew: boolean }
  /** somebody's; it gets our label, or loses it */
  | { do: 'label' | 'unlabel' }
  | { do: 'leave'; trouble: Trouble };

/** @param existing the Service of that name in the namespace */
export function planService(
  service: ServalService | undefined,
  existing: KubeService | undefined,
): ServicePlan {
  // Ours are taken away by Kubernetes' garbage collector, by their owner.
  if (service === undefined)
    return existing !== undefined && isLabelled(existing) && !ownerOf(existing)
      ? { do: 'unlabel' }
      : { do: 'nothing' };
  if (existing === undefined) return { do: 'apply', service: wanted(service), isNew: true };
  const owner = ownerOf(existing);
  if (owner === undefined) return adopt(service, existing);
  if (owner.uid !== service.metadata.uid) return { do: 'leave', trouble: managedBy(existing, owner) };
  return isAsWanted(service, existing)
    ? withAddresses(service, existing)
    : { do: 'apply', service: wanted(service), isNew: false };
}

/** One that a controller has is that controller's alone. */
function ownerOf({ metadata }: KubeService): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}

function adopt(service: ServalService, existing: KubeService): ServicePlan {
  const difference = differenceOf(service, existing, declared);
  if (difference !== undefined)
    return {
      do: 'leave',
      trouble: {
        reason: 'ServiceDiffers',
        message: `Service ${existing.metadata.name} was there before, and ${difference}: make the two say the same, or delete the Service, and it is made anew`,
      },
    };
  return isLabelled(existing) ? withAddresses(service, existing) : { do: 'label' };
}

function withAddresses(service: ServalService, existing: KubeService): ServicePlan {
  if (virtualIPs(existing).length > 0) return { do: 'nothing' };
  const what =
    existing.spec.type === 'ExternalName'
      ? 'is of type ExternalName: a name for another name'
      : 'is headless (clusterIP: None)';
  return {
    do: 'leave',
    trouble: {
      reason: 'NoVirtualIP',
      message: `Service ${service.metadata.name} ${what}, so that its clients get no virtual IP: delete it, and one with a virtual IP is made`,
    },
  };
}

/** What clients name. */
export function virtualIPs({ spec }: KubeService): string[] {
  return spec.type === 'ExternalName' ? [] : (spec.clusterIPs ?? []).filter((address) => address !== 'None');
}

export function isLabelled({ metadata }: KubeService): boolean {
  return metadata.labels?.[serviceLabel] === labelValue;
}

function managedBy({ metadata }: KubeService, { kind, name }: OwnerReference): Trouble {
  return {
    reason: 'ManagedByAnother',
    message: `Service ${metadata.name} is managed by ${kind} ${name}, and left alone: give this ServalService another name`,
  };
}

function wanted(service: ServalService): KubeService {
  const { name, namespace = 'default', uid = '' } = service.metadata;
  const { selector, ports, virtualIPs: addresses } = service.spec;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      labels: { [serviceLabel]: labelValue },
      ownerReferences: [
        { apiVersion, kind: 'ServalService', name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      type: 'ClusterIP',
      ipFamilyPolicy: 'PreferDualStack',
      // The first is asked for under its older name too, else Kubernetes refuses the others.
      ...(addresses?.[0] === undefined ? {} : { clusterIP: addresses[0], clusterIPs: addresses }),
      ...(selector === undefined ? {} : { selector }),
      ports: ports.map(wantedPort),
    },
  };
}

function wantedPort({ name, port, protocol = 'TCP', targetPort = port }: ServalServicePort): KubeServicePort {
  return { ...(name === undefined ? {} : { name }), port, protocol, targetPort };
}

/** Of ours: what others have added to it, and what Kubernetes fills in, is not looked at. */
function isAsWanted(service: ServalService, existing: KubeService): boolean {
  return isLabelled(existing) && differenceOf(service, existing, everything) === undefined;
}

type SamePort = (port: ServalServicePort, other: KubeServicePort) => boolean;

/** What is left to be chosen is whatever somebody chose. */
const declared: SamePort = ({ name, port, protocol = 'TCP', targetPort }, other) =>
  (name ?? '') === (other.name ?? '') &&
  port === other.port &&
  protocol === (other.protocol ?? 'TCP') &&
  (targetPort === undefined || targetPort === (other.targetPort ?? other.port));

const everything: SamePort = (port, other) =>
  declared({ ...port, targetPort: port.targetPort ?? port.port }, other);

/** In words, what the Service has otherwise; undefined where they agree. */
function differenceOf(
  { spec }: ServalService,
  { spec: has }: KubeService,
  isSamePort: SamePort,
): string | undefined {
  const { selector, virtualIPs: addresses } = spec;
  if (selector !== undefined && !isSame(selector, has.selector ?? {}))
    return `its selector is ${inWords(has.selector ?? {})}, not ${inWords(selector)}`;
  if (addresses !== undefined && addresses.some((address) => !has.clusterIPs?.includes(address)))
    return `its virtual IPs are ${(has.clusterIPs ?? []).join(', ') || 'none'}, not ${addresses.join(', ')}`;
  const { ports: theirs = [] } = has;
  const missing = spec.ports.find((port) => !theirs.some((other) => isSamePort(port, other)));
  if (missing !== undefined) return `it does not have port ${portInWords(missing)} as it is declared here`;
  const more = theirs.find((other) => !spec.ports.some((port) => isSamePort(port, other)));
  return more === undefined ? undefined : `it also has port ${portInWords(more)}`;
}

function isSame(a: Record<string, string>, b: Record<string, string>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function inWords(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? 'empty' : pairs.sort().join(',');
}

function portInWords({ name = '', port, protocol = 'TCP', targetPort }: KubeServicePort): string {
  const goal = targetPort === undefined ? '' : ` to ${targetPort}`;
  return `${name === '' ? '' : `${name} `}${port}/${protocol}${goal}`;
}
