/**
 * From a ServalService and its EndpointSlices to replicas: one set for each port and address family, in an order that
 * depends on nothing but the replicas themselves.
 */
import type { EndpointSlice, ServalService, ServalServicePort } from '@serval/api';
import { serviceNameLabel, virtualIPsOf } from '@serval/api';
import { addressFamily, canonical } from './addresses.js';
import type { Replica, ServiceProblem } from './types.js';

/** Where a workload is that was moved away from an address, or that came to it. */
export interface Moved {
  /** canonical text */
  address: string;
  /** where it is; its zone and region come from there. Absent: as the slice says */
  node?: string;
  /** the address that it is known by, default: the one in the slice */
  identity?: string;
}

export interface Surroundings {
  /** what is known of a node, by its name */
  node(name: string): { zone?: string; region?: string } | undefined;
  /** undefined for an address whose workload is where the slice says. Canonical text. */
  moved?(address: string): Moved | undefined;
}

/** One port of a service in one address family. */
export interface PortReplicas {
  name?: string;
  /** at the virtual IPs */
  port: number;
  protocol: 'TCP' | 'UDP';
  family: 4 | 6;
  /** of this family, in canonical form */
  virtualIPs: string[];
  /** each address and port once, sorted by the address that they are known by */
  replicas: Replica[];
}

export interface ServiceReplicas {
  ports: PortReplicas[];
  problems: ServiceProblem[];
}

/** Whose an EndpointSlice is: `namespace/name` of the service; undefined where its label is missing. */
export function sliceOwner({ metadata }: EndpointSlice): string | undefined {
  const name = metadata.labels?.[serviceNameLabel];
  return name === undefined ? undefined : `${metadata.namespace ?? 'default'}/${name}`;
}

/** `slices` are those of the service, whatever their order; never throws. */
export function replicasOf(
  service: ServalService,
  slices: readonly EndpointSlice[],
  surroundings: Surroundings,
): ServiceReplicas {
  const problems: ServiceProblem[] = [];
  const usable = slices.filter((slice) => isUsable(slice, problems));
  const ports: PortReplicas[] = [];
  for (const family of [4, 6] as const) {
    const virtualIPs = virtualIPsOfFamily(service, family);
    if (virtualIPs.length === 0) continue;
    const ofFamily = usable.filter(({ addressType }) => addressType === `IPv${family}`);
    for (const port of service.spec.ports)
      ports.push({
        ...(port.name === undefined ? {} : { name: port.name }),
        port: port.port,
        protocol: port.protocol ?? 'TCP',
        family,
        virtualIPs,
        replicas: ofPort(service, port, ofFamily, surroundings),
      });
  }
  for (const slice of usable) badAddresses(slice, problems);
  return { ports, problems };
}

/** Those that are no address have their problem from conflicts.ts. */
function virtualIPsOfFamily(service: ServalService, family: 4 | 6): string[] {
  const found = virtualIPsOf(service)
    .map(canonical)
    .filter((each) => each !== undefined);
  // A copy: what filter makes has room for 17.
  return [...new Set(found)].filter((address) => addressFamily(address) === family).slice();
}

function isUsable(slice: EndpointSlice, problems: ServiceProblem[]): boolean {
  if (slice.addressType === 'IPv4' || slice.addressType === 'IPv6') return true;
  problems.push({
    subject: sliceName(slice),
    reason: `its addressType is ${slice.addressType}: names are not resolved here`,
    remedy: 'Use slices of addressType IPv4 or IPv6',
  });
  return false;
}

/** The names themselves may be of any length: two of them are enough to find the rest. */
function badAddresses(slice: EndpointSlice, problems: ServiceProblem[]): void {
  const family = slice.addressType === 'IPv4' ? 4 : 6;
  const bad = slice.endpoints.filter(({ addresses }) => addressIn(addresses, family) === undefined);
  if (bad.length === 0) return;
  const some = bad.slice(0, 2).map(({ addresses }) => JSON.stringify(addresses[0] ?? ''));
  problems.push({
    subject: sliceName(slice),
    reason: `${bad.length} of its endpoints have no ${slice.addressType} address (${some.join(', ')}${bad.length > 2 ? ', …' : ''})`,
    remedy: 'They are left out; correct their addresses, or the addressType of the slice',
  });
}

function sliceName({ metadata }: EndpointSlice): string {
  return `EndpointSlice ${metadata.namespace ?? 'default'}/${metadata.name}`;
}

function addressIn(addresses: readonly string[], family: 4 | 6): string | undefined {
  const address = canonical(addresses[0] ?? '');
  return address !== undefined && addressFamily(address) === family ? address : undefined;
}

function ofPort(
  service: ServalService,
  port: ServalServicePort,
  slices: readonly EndpointSlice[],
  surroundings: Surroundings,
): Replica[] {
  const replicas: Replica[] = [];
  const isOnly = service.spec.ports.length === 1;
  for (const slice of slices) {
    const target = targetPort(slice, port, isOnly);
    if (target === undefined) continue;
    const family = slice.addressType === 'IPv4' ? 4 : 6;
    for (const endpoint of slice.endpoints) {
      const address = addressIn(endpoint.addresses, family);
      if (address !== undefined) replicas.push(replicaOf(endpoint, address, target, surroundings));
    }
  }
  return merged(replicas.sort(byIdentity));
}

/**
 * The replicas' port for a service's port: by name and protocol. A service's only port without a name takes a slice's only
 * one of its protocol, whatever its name. A slice's port without a number stands for all of them.
 */
function targetPort(
  { ports = [] }: EndpointSlice,
  wanted: ServalServicePort,
  isOnly: boolean,
): number | undefined {
  const protocol = wanted.protocol ?? 'TCP';
  const candidates = ports.filter((each) => (each.protocol ?? 'TCP') === protocol);
  const byName = candidates.find(({ name }) => (name ?? '') === (wanted.name ?? ''));
  const only = isOnly && wanted.name === undefined && candidates.length === 1 ? candidates[0] : undefined;
  const found = byName ?? only;
  if (found === undefined) return undefined;
  const number = found.port ?? wanted.port;
  return isPort(number) ? number : undefined;
}

export function isPort(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

type Endpoint = EndpointSlice['endpoints'][number];

function replicaOf(endpoint: Endpoint, listed: string, port: number, surroundings: Surroundings): Replica {
  const moved = surroundings.moved?.(listed);
  const address = moved?.address ?? listed;
  const identity = moved?.identity ?? listed;
  const { node, zone, region } = placeOf(endpoint, moved?.node, surroundings);
  const replica = replicaAt(address, port, endpoint, node, zone);
  if (identity !== address) replica.identity = identity;
  if (region !== undefined) replica.region = region;
  return replica;
}

type PlaceOf = Record<'node' | 'zone' | 'region', string | undefined>;

function placeOf(endpoint: Endpoint, movedTo: string | undefined, surroundings: Surroundings): PlaceOf {
  const node = movedTo ?? endpoint.nodeName;
  const known = node === undefined ? undefined : surroundings.node(node);
  // The endpoint's zone is that of where it was.
  const zone = movedTo === undefined ? (endpoint.zone ?? known?.zone) : known?.zone;
  return { node, zone, region: known?.region };
}

/** Most have a host and a zone. In one go: fields that are added one by one take 50 bytes more, of each of 100,000. */
function replicaAt(
  address: string,
  port: number,
  endpoint: Endpoint,
  node: string | undefined,
  zone: string | undefined,
): Replica {
  const [ready, draining] = [isReady(endpoint), isDraining(endpoint)];
  if (node !== undefined && zone !== undefined) return { address, port, ready, draining, node, zone };
  const replica: Replica = { address, port, ready, draining };
  if (node !== undefined) replica.node = node;
  if (zone !== undefined) replica.zone = zone;
  return replica;
}

function isReady({ conditions }: Endpoint): boolean {
  return conditions?.ready ?? true;
}

function isDraining(endpoint: Endpoint): boolean {
  const { serving, terminating } = endpoint.conditions ?? {};
  return !isReady(endpoint) && terminating === true && serving === true;
}

function byIdentity(one: Replica, other: Replica): number {
  const [a, b] = [one.identity ?? one.address, other.identity ?? other.address];
  if (a !== b) return a < b ? -1 : 1;
  if (one.address !== other.address) return one.address < other.address ? -1 : 1;
  return one.port - other.port;
}

/** One of each address and port; what is ready in one slice is ready. */
function merged(sorted: Replica[]): Replica[] {
  const places = new Map<string, number>();
  let kept = 0;
  let mayRepeat = false;
  for (const replica of sorted) {
    // While nothing has moved equal ones stand side by side: no map is needed.
    mayRepeat ||= replica.identity !== undefined;
    const previous = sorted[kept - 1];
    if (previous?.address === replica.address && previous.port === replica.port)
      sorted[kept - 1] = better(previous, replica);
    else sorted[kept++] = replica;
  }
  sorted.length = kept;
  if (!mayRepeat) return sorted;
  const result: Replica[] = [];
  for (const replica of sorted) {
    const key = `${replica.address} ${replica.port}`;
    const at = places.get(key);
    if (at === undefined) places.set(key, result.push(replica) - 1);
    else result[at] = better(result[at] as Replica, replica);
  }
  return result.sort(byIdentity);
}

/** Of two that say something of the same one: the more useful; and of equal ones, that which knows where it comes from. */
function better(one: Replica, other: Replica): Replica {
  const rank = ({ ready, draining }: Replica): number => (ready ? 2 : draining ? 1 : 0);
  const best = rank(other) > rank(one) ? other : one;
  const identity = one.identity ?? other.identity;
  if (identity === undefined || best.identity !== undefined) return best;
  return { ...best, identity };
}
