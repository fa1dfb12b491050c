/** What services may not have at the same time: who serves at which virtual IP and port, and what is said to the others. */
import { virtualIPsOf, type ServalService } from '@serval/api';
import { canonical, isNobody } from './addresses.js';
import { isPort } from './replicas.js';
import type { ServiceProblem } from './types.js';

/** Where a service is served. */
export interface ServicePoint {
  /** canonical text */
  virtualIP: string;
  port: number;
  protocol: 'TCP' | 'UDP';
  /** which of the service's ports it is */
  portIndex: number;
}

export interface ServicePoints {
  points: ServicePoint[];
  problems: ServiceProblem[];
}

export function serviceName({ metadata }: ServalService): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`;
}

/** By `namespace/name`; `isReplica` says of a canonical address whether a replica of any service has it. */
export function servicePoints(
  services: Iterable<ServalService>,
  isReplica: (address: string) => boolean,
): Map<string, ServicePoints> {
  /** by place: who has it */
  const taken = new Map<string, string>();
  const result = new Map<string, ServicePoints>();
  for (const service of [...services].sort(olderFirst)) {
    const problems: ServiceProblem[] = [];
    const points = wantedPoints(service, isReplica, problems).filter((point) => {
      const place = placeName(point);
      const owner = taken.get(place);
      if (owner === undefined) taken.set(place, serviceName(service));
      else problems.push(takenBy(service, place, owner));
      return owner === undefined;
    });
    // A copy: what filter makes has room for 17.
    result.set(serviceName(service), { points: points.slice(), problems });
  }
  return result;
}

function wantedPoints(
  service: ServalService,
  isReplica: (address: string) => boolean,
  problems: ServiceProblem[],
): ServicePoint[] {
  const ports = goodPorts(service, problems);
  return [...goodAddresses(service, isReplica, problems)].flatMap((virtualIP) =>
    ports.map(([portIndex, { port, protocol = 'TCP' }]) => ({ virtualIP, port, protocol, portIndex })),
  );
}

function placeName({ virtualIP, port, protocol }: ServicePoint): string {
  return `${virtualIP.includes(':') ? `[${virtualIP}]` : virtualIP}:${port}/${protocol}`;
}

/** Files carry no time: they come after those that have one, by name. */
function olderFirst(one: ServalService, other: ServalService): number {
  const age = (service: ServalService): number => {
    const at = Date.parse(service.metadata.creationTimestamp ?? '');
    return Number.isNaN(at) ? Infinity : at;
  };
  const [a, b] = [age(one), age(other)];
  if (a !== b) return a - b;
  return serviceName(one) < serviceName(other) ? -1 : 1;
}

function subjectOf(service: ServalService): string {
  return `service ${serviceName(service)}`;
}

function takenBy(service: ServalService, place: string, owner: string): ServiceProblem {
  if (owner === serviceName(service))
    return {
      subject: subjectOf(service),
      reason: `it has ${place} twice`,
      remedy: 'Give each of its ports a number of its own; the first one counts',
    };
  return {
    subject: subjectOf(service),
    reason: `${place} belongs to service ${owner}, which is older`,
    remedy: 'Give one of them another virtual IP or port',
  };
}

type NumberedPort = [number, ServalService['spec']['ports'][number]];

function goodPorts(service: ServalService, problems: ServiceProblem[]): NumberedPort[] {
  const { ports } = service.spec;
  const subject = subjectOf(service);
  if (ports.length === 0)
    problems.push({ subject, reason: 'it has no ports', remedy: 'Name at least one port to serve' });
  return [...ports.entries()].filter(([, { name, port }]) => {
    if (!isPort(port)) {
      const reason = `its port ${JSON.stringify(port)} is no number from 1 to 65535`;
      problems.push({ subject, reason, remedy: 'Name one port at a time; ranges are not served' });
      return false;
    }
    if (name === undefined && ports.length > 1) {
      const reason = `its port ${port} has no name, and it has others`;
      problems.push({ subject, reason, remedy: 'Name each of several ports as the EndpointSlices do' });
      return false;
    }
    return true;
  });
}

function goodAddresses(
  service: ServalService,
  isReplica: (address: string) => boolean,
  problems: ServiceProblem[],
): Set<string> {
  const subject = subjectOf(service);
  const refuse = (reason: string, remedy: string): void => void problems.push({ subject, reason, remedy });
  const virtualIPs = virtualIPsOf(service);
  if (virtualIPs.length === 0)
    refuse('it has no virtual IP', 'Give it the addresses that DNS has for its name');
  const good = new Set<string>();
  for (const text of virtualIPs) {
    const address = canonical(text);
    if (address === undefined)
      refuse(`its virtual IP ${JSON.stringify(text)} is no address`, 'Write it as 192.0.2.1 or 2001:db8::1');
    else if (isNobody(address))
      refuse(`its virtual IP ${address} is nobody's own`, 'Use an address that names one place only');
    else if (isReplica(address))
      refuse(`its virtual IP ${address} is a replica's own address`, 'Use an address that nobody else has');
    else good.add(address);
  }
  return good;
}
