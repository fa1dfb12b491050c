/** Pure: ServalServices and their replicas, for people. */
import { virtualIPsOf, type Condition, type EndpointSlice, type ServalService } from '@serval/api';
import type { TextOptions } from '../describe.js';
import { formatAge, formatEndpoint, formatMs, renderTable } from '../text.js';

type Endpoint = EndpointSlice['endpoints'][number];

export function serviceLines(services: readonly ServalService[], { wide, now }: TextOptions): string[] {
  const heads = ['NAMESPACE', 'NAME', 'VIRTUAL IPS', 'PORTS', 'READY', 'ZONES', 'STATE', 'AGE'];
  const rows = services.map((service) => {
    const { metadata, spec, status } = service;
    const made = metadata.creationTimestamp;
    return [
      ...[metadata.namespace ?? 'default', metadata.name, virtualIPsOf(service).join(',') || '-'],
      ...[portsText(service), `${status?.readyReplicas ?? 0}/${status?.replicas ?? 0}`, zonesText(service)],
      ...[stateText(service), made === undefined ? '-' : formatAge(now - Date.parse(made))],
      ...(wide
        ? [selectorText(service), spec.locality ?? '-', spec.balance ?? '-', spec.affinity ?? '-']
        : []),
    ];
  });
  const more = wide ? ['SELECTOR', 'LOCALITY', 'BALANCE', 'AFFINITY'] : [];
  const problems = services.flatMap((service) =>
    problemsOf(service).map(
      (problem) => `PROBLEM  ${service.metadata.namespace ?? 'default'}/${service.metadata.name}: ${problem}`,
    ),
  );
  return [...renderTable([[...heads, ...more], ...rows]), ...problems];
}

export function serviceDetail(
  service: ServalService,
  slices: readonly EndpointSlice[],
  { now }: TextOptions,
): string[] {
  const { metadata, status } = service;
  return [
    ...renderTable([
      ['name', `${metadata.namespace ?? 'default'}/${metadata.name}`],
      ['virtual IPs', virtualIPsOf(service).join(', ') || '-'],
      ['ports', portsText(service)],
      ['selector', selectorText(service)],
      ...policyRows(service),
      ['zones', zonesText(service)],
    ]),
    ...(status?.conditions ?? []).map((condition) => conditionText(condition, now)),
    ...problemsOf(service).map((problem) => `PROBLEM  ${problem}`),
    '',
    ...replicaLines(slices),
  ];
}

/** The API server fills in what the spec leaves out. */
function policyRows({ spec }: ServalService): string[][] {
  const { locality = '-', balance = '-', affinity = '-', whenEmpty = '-', failover = {}, maxDelayMs } = spec;
  const { attempts = '-', synTimeoutMs = Number.NaN } = failover;
  const delay = whenEmpty === 'Wait' ? ` for ${formatMs(maxDelayMs ?? Number.NaN)} at most` : '';
  return [
    ['choice', `locality ${locality}, balance ${balance}, affinity ${affinity}`],
    ['failover', `${attempts} attempts, ${formatMs(synTimeoutMs)} each`],
    ['when empty', `${whenEmpty}${delay}`],
  ];
}

/** What keeps clients from replicas, or the operator from looking, in words. */
export function problemsOf({ metadata, status }: ServalService): string[] {
  if (status?.conditions === undefined) return ['the operator has not looked at it yet'];
  const wrong = status.conditions
    .filter(({ status: is }) => is !== 'True')
    .map(({ message, reason }) => message || reason);
  const seen = status.observedGeneration ?? 0;
  const isBehind = metadata.generation !== undefined && seen < metadata.generation;
  return [...wrong, ...(isBehind ? ['the operator has not looked at its latest change yet'] : [])];
}

function portsText({ spec }: ServalService): string {
  return spec.ports.map(({ port, protocol }) => `${port}/${(protocol ?? 'TCP').toLowerCase()}`).join(',');
}

/** `a 2/2, b 0/1`; replicas of nodes without a zone stand under `-`. */
function zonesText({ status }: ServalService): string {
  const zones = (status?.zones ?? []).map(
    ({ zone, readyReplicas, replicas }) => `${zone === '' ? '-' : zone} ${readyReplicas}/${replicas}`,
  );
  return zones.join(', ') || '-';
}

function stateText({ status }: ServalService): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready === undefined ? 'waiting' : ready.reason;
}

function selectorText({ spec }: ServalService): string {
  if (spec.selector === undefined) return '- (EndpointSlices of its name)';
  return Object.entries(spec.selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

function conditionText(
  { type, status, reason, message, lastTransitionTime }: Condition,
  now: number,
): string {
  const since = formatAge(now - Date.parse(lastTransitionTime));
  return `${type} is ${status} for ${since}: ${reason}${message === '' ? '' : `, ${message}`}`;
}

function replicaLines(slices: readonly EndpointSlice[]): string[] {
  const rows = slices.flatMap(({ endpoints, ports }) =>
    endpoints.map((endpoint) => [
      addressText(endpoint, ports?.[0]?.port),
      ...[endpoint.nodeName ?? '-', endpoint.zone ?? '-', replicaState(endpoint)],
      endpoint.targetRef?.name === undefined
        ? '-'
        : `${(endpoint.targetRef.kind ?? '').toLowerCase()}/${endpoint.targetRef.name}`,
    ]),
  );
  if (rows.length === 0) return ['No replicas.'];
  return renderTable([['REPLICA', 'NODE', 'ZONE', 'STATE', 'WHAT'], ...rows.sort(byNodeThenAddress)]);
}

function addressText({ addresses }: Endpoint, port: number | undefined): string {
  const [address = ''] = addresses;
  return port === undefined ? address : formatEndpoint({ address, port });
}

function replicaState({ conditions }: Endpoint): string {
  if (conditions?.terminating === true) return conditions.serving === true ? 'draining' : 'ending';
  return conditions?.ready === false ? 'not ready' : 'ready';
}

function byNodeThenAddress([a = '', nodeA = '']: string[], [b = '', nodeB = '']: string[]): number {
  return nodeA.localeCompare(nodeB) || a.localeCompare(b);
}
