/** Pure: what a ServalService's status says, from the Service of its name and the slices of that. */
import { serviceNameLabel, type Condition, type EndpointSlice, type ServalService } from '@serval/api';
import { labelValue, serviceLabel, virtualIPs, type Trouble } from './plan.js';
import type { KubeService } from './kube-types.js';

export type ServiceStatus = NonNullable<ServalService['status']>;

export interface StatusInput {
  service: ServalService;
  /** absent: it is made in a moment */
  existing: KubeService | undefined;
  trouble: Trouble | undefined;
  slices: readonly EndpointSlice[];
  /** RFC 3339 */
  now: string;
}

type Endpoint = EndpointSlice['endpoints'][number];

/** All fields that the operator writes; what was there and is gone is null. */
export function serviceStatus(input: StatusInput): ServiceStatus {
  const { service, existing, slices } = input;
  const addresses = existing === undefined ? [] : virtualIPs(existing);
  const endpoints = distinct(slices);
  const ready = endpoints.filter(isReady).length;
  return {
    observedGeneration: service.metadata.generation ?? 0,
    virtualIPs: input.trouble === undefined ? addresses : [],
    replicas: endpoints.length,
    readyReplicas: ready,
    zones: zonesOf(endpoints),
    conditions: [readyCondition(input, addresses, endpoints.length, ready)],
  };
}

export function readyOf({ status }: ServalService): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}

/** An address of a dual-stack pod is in a slice of each family: by its pod it counts once. */
function distinct(slices: readonly EndpointSlice[]): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const { endpoints } of slices)
    for (const endpoint of endpoints)
      found.set(endpoint.targetRef?.uid ?? endpoint.addresses[0] ?? '', endpoint);
  return [...found.values()];
}

/** Whether it takes new connections. Kubernetes: what isn't said counts as ready. */
function isReady({ conditions }: Endpoint): boolean {
  return conditions?.ready !== false;
}

function zonesOf(endpoints: readonly Endpoint[]): NonNullable<ServiceStatus['zones']> {
  const byZone = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const zone = endpoint.zone ?? '';
    byZone.set(zone, [...(byZone.get(zone) ?? []), endpoint]);
  }
  const all = endpoints.filter(isReady).length;
  return [...byZone]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, mostZones)
    .map(([zone, own]) => {
      const readyReplicas = own.filter(isReady).length;
      const weight = all === 0 ? 0 : Math.round((readyReplicas / all) * 1_000);
      return { zone, replicas: own.length, readyReplicas, weight };
    });
}

/** As the CRD has it. */
const mostZones = 64;

function readyCondition(
  { service, existing, trouble, now }: StatusInput,
  addresses: readonly string[],
  replicas: number,
  ready: number,
): Condition {
  const says = (status: Condition['status'], reason: string, message: string): Condition => {
    const before = readyOf(service);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    const observedGeneration = service.metadata.generation ?? 0;
    return { type: 'Ready', status, observedGeneration, reason, message, lastTransitionTime };
  };
  if (trouble !== undefined) return says('False', trouble.reason, trouble.message);
  if (existing === undefined || addresses.length === 0)
    return says('Unknown', 'Progressing', 'the Service of its name is being made');
  if (ready > 0) return says('True', 'Serving', `${ready} of ${replicas} replicas take connections`);
  return says('False', 'NoReplicas', nobody(service, replicas));
}

function nobody({ spec, metadata }: ServalService, replicas: number): string {
  if (replicas > 0) return `none of its ${replicas} replicas is ready: see why their pods are not`;
  if (spec.selector === undefined)
    return `it has no selector, and no EndpointSlice has the labels ${serviceNameLabel}=${metadata.name} and ${serviceLabel}=${labelValue}: say by one or the other who serves`;
  const labels = Object.entries(spec.selector).map(([key, value]) => `${key}=${value}`);
  return `no pod of its namespace has the labels ${labels.join(',')}: start one, or mend spec.selector`;
}
