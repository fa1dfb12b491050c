/** Pure: what has to hold between the fields of a service, or of a slice of its endpoints. Their schema was met before. */
import { isIP } from 'node:net';
import { serviceNameLabel, type EndpointSlice, type ServalService } from '@serval/api';
import ipaddr from 'ipaddr.js';
import { isLabel, isName, quoted, type FieldProblem, type Validator } from './validate.js';

/** @param value a ServalService that fits its schema */
export const serviceProblems: Validator = (value) => {
  const { virtualIPs = [], ports, selector } = (value as ServalService).spec;
  return [
    ...virtualIPProblems(virtualIPs),
    ...portProblems(ports),
    ...(selector === undefined ? [] : [withoutChooser]),
  ];
};

const withoutChooser: FieldProblem = {
  field: 'spec.selector',
  reason: 'without Kubernetes there is nobody who would choose pods by their labels',
  remedy: 'Remove it, and say in EndpointSlices who serves',
};

function virtualIPProblems(virtualIPs: readonly string[]): FieldProblem[] {
  const seen = new Map<string, number>();
  return virtualIPs.flatMap((address, index) => {
    const field = `spec.virtualIPs[${index}]`;
    const fault = faultOf(address);
    if (fault !== undefined)
      return [
        { field, reason: `${quoted(address)} ${fault}`, remedy: 'Give an address that one can connect to' },
      ];
    const canonical = ipaddr.process(address).toString();
    const earlier = seen.get(canonical);
    seen.set(canonical, index);
    if (earlier === undefined) return [];
    return [
      {
        field,
        reason: `${quoted(address)} is the address of spec.virtualIPs[${earlier}] already`,
        remedy: 'Remove one of the two',
      },
    ];
  });
}

function portProblems(ports: ServalService['spec']['ports']): FieldProblem[] {
  const numbers = new Map<string, number>();
  const names = new Map<string, number>();
  return ports.flatMap(({ name, port, protocol = 'TCP', targetPort }, index) => {
    const problems: FieldProblem[] = [];
    const field = `spec.ports[${index}]`;
    const number = `${port}/${protocol}`;
    const sameNumber = numbers.get(number);
    const sameName = name === undefined ? undefined : names.get(name);
    numbers.set(number, index);
    if (name !== undefined) names.set(name, index);
    if (sameNumber !== undefined)
      problems.push({
        field,
        reason: `port ${number} is declared by spec.ports[${sameNumber}] already`,
        remedy: 'Remove one of the two',
      });
    if (sameName !== undefined)
      problems.push({
        field: `${field}.name`,
        reason: `${quoted(name)} is the name of spec.ports[${sameName}] already`,
        remedy: 'Give each port a name of its own',
      });
    if (targetPort !== undefined)
      problems.push({
        field: `${field}.targetPort`,
        reason: 'without Kubernetes there is nobody who would make EndpointSlices by it',
        remedy: 'Remove it: the EndpointSlices say at which port each replica listens',
      });
    if (name === undefined && ports.length > 1)
      problems.push({
        field: `${field}.name`,
        reason: 'it is missing, and a port may go without a name only where it is the only one',
        remedy: 'Name it as the EndpointSlices name it',
      });
    return problems;
  });
}

/** @param value an EndpointSlice that fits its schema: what Kubernetes leaves out may be null */
export const sliceProblems: Validator = (value) => {
  const { metadata, addressType, endpoints, ports } = value as EndpointSlice;
  const problems = [...ownerProblems(metadata), ...slicePortProblems(ports ?? [])];
  const fits = addressTests[addressType];
  for (const [index, { addresses }] of ((endpoints as typeof endpoints | null) ?? []).entries())
    for (const [place, address] of addresses.entries()) {
      const fault = fits(address);
      if (fault !== undefined)
        problems.push({
          field: `endpoints[${index}].addresses[${place}]`,
          reason: `${quoted(address)} ${fault}`,
          remedy: `Write an address of addressType ${addressType}, or put it into an EndpointSlice of its own type`,
        });
    }
  return problems;
};

function ownerProblems({ labels }: EndpointSlice['metadata']): FieldProblem[] {
  const field = `metadata.labels.${serviceNameLabel}`;
  const owner = labels?.[serviceNameLabel];
  if (owner !== undefined && isLabel(owner)) return [];
  return [
    {
      field,
      reason:
        owner === undefined
          ? 'it is missing, so that these endpoints are of no service'
          : `${quoted(owner)} can't be the name of a service: that is a DNS label`,
      remedy: 'Set it to the name of the ServalService in the same namespace',
    },
  ];
}

function slicePortProblems(ports: NonNullable<EndpointSlice['ports']>): FieldProblem[] {
  const names = new Map<string, number>();
  return ports.flatMap((port, index) => {
    const name = port.name ?? '';
    const field = `ports[${index}].name`;
    if (name !== '' && !isLabel(name))
      return [{ field, reason: `${quoted(name)} is no DNS label`, remedy: 'Write it like http' }];
    const earlier = names.get(name);
    names.set(name, index);
    if (earlier === undefined) return [];
    return [
      {
        field,
        reason: `${quoted(name)} is the name of ports[${earlier}] already`,
        remedy: 'Give each port a name of its own',
      },
    ];
  });
}

const addressTests: Record<EndpointSlice['addressType'], (address: string) => string | undefined> = {
  IPv4: (address) => (isIP(address) === 4 ? faultOf(address) : 'is no IPv4 address'),
  IPv6: (address) => (isIP(address) === 6 ? faultOf(address) : 'is no IPv6 address'),
  FQDN: (address) => (isName(address) ? undefined : 'is no DNS name'),
};

/** Why nobody can connect to it. */
function faultOf(address: string): string | undefined {
  // Of IPv4 the first number says it, without an object for each of 100,000 endpoints.
  if (!address.includes(':')) return faultsOfIPv4(address, Number.parseInt(address, 10));
  if (address.includes('%')) return 'has a zone, which means something on one host only';
  const range = ipaddr.process(address).range();
  return range === 'unspecified' || range === 'multicast' || range === 'broadcast' ? is[range] : undefined;
}

function faultsOfIPv4(address: string, first: number): string | undefined {
  if (first >= 224 && first < 240) return is.multicast;
  if (address === '255.255.255.255') return is.broadcast;
  return first === 0 ? is.unspecified : undefined;
}

const is = {
  unspecified: 'is the unspecified address',
  multicast: 'is a multicast address',
  broadcast: 'is the broadcast address',
};
