/** Pure: the service table, and what a connect() would get, for people. */
import type {
  ReplicaView,
  ResolveAnswer,
  ResolveView,
  ServicePolicy,
  ServicePortView,
  ServiceView,
} from '@serval/api';
import type { TextOptions } from './describe.js';
import { formatCounts, formatEndpoint, formatMs, formatPercent, renderTable } from './text.js';

/** One line for each port and address family; wide: one for each replica. */
export function serviceLines(services: readonly ServiceView[], { wide }: TextOptions): string[] {
  if (services.length === 0) return ['This node knows no services.'];
  const heads = ['SERVICE', 'ADDRESS', 'RULE'];
  const rows = services.flatMap((service) =>
    service.ports.length === 0
      ? [[service.name, ...Array<string>(wide ? replicaHeads.length : portHeads.length).fill('-'), '-', '-']]
      : service.ports.flatMap((port) => {
          const begin = [service.name, addressOf(port), port.rule];
          return wide ? replicaRows(begin, port) : [[...begin, ...portCells(port)]];
        }),
  );
  const table = renderTable([[...heads, ...(wide ? replicaHeads : portHeads)], ...rows]);
  return [...table, ...services.flatMap(problemLines)];
}

/** All about one: its policy, and each port with its replicas, those with the most flows first. */
export function serviceDetail(service: ServiceView): string[] {
  return [
    `${service.name}: ${policyText(service.policy)}`,
    ...(service.inUse ? [] : ['nobody here has connected of late: the load of its replicas is not followed']),
    ...service.ports.flatMap(portDetail),
    ...problemLines(service),
  ];
}

// --- ports

const portHeads = ['BALANCE', 'CHOSEN', 'RINGS', 'FLOWS', 'HEALTH', 'CONNECTS'];

const balanceNames: Record<ServicePortView['balance'], string> = {
  RANDOM: 'by chance',
  IN_TURN: 'in turn',
  BY_CLIENT: 'by client',
};

function addressOf({ virtualIPs, port, protocol }: ServicePortView): string {
  if (virtualIPs.length === 0) return `- (port ${port}/${protocol})`;
  return virtualIPs.map((address) => `${formatEndpoint({ address, port })}/${protocol}`).join(',');
}

function portCells({ balance, replicas, resolved }: ServicePortView): string[] {
  const chosen = replicas.filter(({ weight }) => weight > 0);
  return [
    ...[balanceNames[balance], `${chosen.length} of ${replicas.length}`, ringShares(chosen)],
    ...[flowsOf(replicas), healthCounts(replicas), String(resolved)],
  ];
}

/** `zone 82 %, region 18 %` */
function ringShares(chosen: readonly ReplicaView[]): string {
  const shares = new Map<string, number>();
  for (const { ring, weight } of chosen) shares.set(ring, (shares.get(ring) ?? 0) + weight);
  const parts = ['node', 'zone', 'region', 'world']
    .filter((ring) => shares.has(ring))
    .map((ring) => `${ring} ${formatPercent(shares.get(ring) ?? 0)}`);
  return parts.length === 0 ? '-' : parts.join(', ');
}

/** Of all whose load is known. */
function flowsOf(replicas: readonly ReplicaView[]): string {
  const loads = replicas.flatMap(({ load }) => load ?? []);
  return loads.length === 0 ? '-' : String(loads.reduce((sum, { established }) => sum + established, 0));
}

function healthCounts(replicas: readonly ReplicaView[]): string {
  const counts: Record<string, number> = {};
  for (const { health } of replicas) counts[health] = (counts[health] ?? 0) + 1;
  return replicas.length === 0 ? '-' : formatCounts(counts);
}

function portDetail(port: ServicePortView): string[] {
  const { name, rule, balance, resolved, refused, waited, replicas } = port;
  const title = `${addressOf(port)}${name === undefined ? '' : ` (${name})`}`;
  const connects = `${resolved} connects, ${refused} refused, ${waited} waited`;
  const sorted = [...replicas].sort((a, b) => b.weight - a.weight);
  const rows = sorted.map(replicaCells);
  return [
    '',
    `${title}: ${rule}, ${balanceNames[balance]}; ${connects}`,
    ...(rows.length === 0 ? ['no replicas'] : renderTable([replicaHeads, ...rows])),
  ];
}

function policyText(policy: ServicePolicy): string {
  const { locality, balance, affinity, ownReplica, whenEmpty, attempts, synTimeoutMs, maxDelayMs } = policy;
  return [
    ...[`locality ${locality}`, `balance ${balance}`, `affinity ${affinity}`, `own replica ${ownReplica}`],
    whenEmpty === 'Wait' ? `when empty Wait (${formatMs(maxDelayMs)})` : `when empty ${whenEmpty}`,
    attempts > 1 ? `failover after ${formatMs(synTimeoutMs)}, ${attempts} attempts` : 'no failover',
  ].join(', ');
}

function problemLines({ problems }: Pick<ServiceView, 'problems'>): string[] {
  return problems.map((problem) => `PROBLEM  ${problem}`);
}

// --- replicas

const replicaHeads = [
  ...['REPLICA', 'NODE', 'ZONE', 'RING', 'WEIGHT', 'STATE', 'HEALTH', 'FLOWS', 'BACKLOG'],
  ...['RTT', 'CONNECTS', 'FAILED', 'REASON'],
];

function replicaRows(begin: readonly string[], { replicas }: ServicePortView): string[][] {
  if (replicas.length === 0) return [[...begin, ...Array<string>(replicaHeads.length).fill('-')]];
  return replicas.map((replica) => [...begin, ...replicaCells(replica)]);
}

function replicaCells(replica: ReplicaView): string[] {
  const { identity, node, zone, ring, weight, health, load, connections, failures, rttUs = 0 } = replica;
  const was = identity === undefined ? '' : ` (was ${identity})`;
  return [
    ...[`${formatEndpoint(replica)}${was}`, node ?? '-', zone ?? '-', ring, formatPercent(weight)],
    ...[stateOf(replica), health, count(load?.established), count(load?.backlog)],
    ...[rttUs === 0 ? '-' : formatMs(rttUs / 1000), count(connections), count(failures), replica.reason],
  ];
}

function stateOf({ ready, draining, load }: ReplicaView): string {
  if (load?.moving === true) return 'moving';
  if (draining) return 'draining';
  return ready ? 'ready' : 'not ready';
}

function count(value: number | undefined): string {
  return value === undefined ? '-' : String(value);
}

// --- what a connect() would get

/** So many of those that may be drawn are shown, where not all are asked for. */
const shownChances = 20;

export function resolveLines(view: ResolveView, options: TextOptions): string[] {
  const { from, name, answers, problems } = view;
  const blocks = answers.flatMap((answer, i) => [
    ...(i === 0 ? [] : ['']),
    ...answerLines(answer, from, options),
  ]);
  return [...(answers.length === 0 ? [`${name} is served nowhere`] : blocks), ...problemLines({ problems })];
}

/** connect() would fail at one of its places, or there is none. */
export function resolveFails({ answers }: ResolveView): boolean {
  return answers.length === 0 || answers.some(({ fails }) => fails);
}

function answerLines(answer: ResolveAnswer, from: string, options: TextOptions): string[] {
  const { asked, protocol, service, reason, replica, note } = answer;
  const place = `${formatEndpoint(asked)}/${protocol}${service === undefined ? '' : ` (${service})`}`;
  const share =
    replica?.weight === undefined
      ? []
      : [`  it has ${formatPercent(replica.weight)} of the flows: ${replica.reason ?? ''}`];
  return [
    `${place} from ${from}: ${outcomeText(answer)}`,
    `  ${reason}`,
    ...share,
    ...(note === undefined ? [] : [`  ${note}`]),
    ...chanceLines(answer, options),
  ];
}

function outcomeText({ outcome, rule, replica, asked, protocol }: ResolveAnswer): string {
  if (outcome === 'refused') return `refused (${rule ?? ''})`;
  if (outcome === 'waits') return `waits (${rule ?? ''})`;
  if (outcome === 'asItIs' || replica === undefined) return `${formatEndpoint(asked)}/${protocol}, as it is`;
  const { node, ring } = replica;
  const where = node === undefined ? '' : ` on ${node}`;
  return `${formatEndpoint(replica)}${where}${ring === undefined ? '' : ` (${ring})`}`;
}

function chanceLines({ chances = [] }: ResolveAnswer, { wide }: TextOptions): string[] {
  if (chances.length < 2) return [];
  const sorted = [...chances].sort((a, b) => b.chance - a.chance);
  const shown = wide ? sorted : sorted.slice(0, shownChances);
  const rows = shown.map(({ chance, node, ring, health, reason, ...replica }) => [
    ...[formatPercent(chance), formatEndpoint(replica), node ?? '-', ring, health, reason],
  ]);
  const more = sorted.length - shown.length;
  return [
    ...renderTable([['CHANCE', 'REPLICA', 'NODE', 'RING', 'HEALTH', 'REASON'], ...rows]).map(
      (line) => `  ${line}`,
    ),
    ...(more > 0 ? [`  and ${more} others, see -o wide`] : []),
  ];
}
