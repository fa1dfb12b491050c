/** Pure: what the agent says, for people. */
import {
  migrationResult,
  type FlowView,
  type PodView,
  type ServalMigration,
  type StatusView,
  type TimelinePhase,
  workloadOf,
} from '@serval/api';
import { formatAge, formatCounts, formatEndpoint, formatMs, renderTable } from './text.js';
import { renderTimeline } from './timeline.js';

type Status = NonNullable<ServalMigration['status']>;

export interface TextOptions {
  /** more columns */
  wide: boolean;
  /** longest line where something is drawn */
  width: number;
  /** Date.now() */
  now: number;
}

export function flowLines(flows: readonly FlowView[], { wide }: TextOptions): string[] {
  if (flows.length === 0)
    return ['No flows have a rule here: nothing that was moved, and nobody who talks to it.'];
  const pair = ({ local, remote }: FlowView['identity']): string =>
    `${formatEndpoint(local)} - ${formatEndpoint(remote)}`;
  const heads = ['FLOWID', 'POD', 'PROTOCOL', 'IDENTITY', 'WIRE', 'STATE', 'OUT', 'IN'];
  const rows = flows.map((flow) => [
    ...[flow.flowId, flow.pod, flow.protocol, pair(flow.identity), pair(flow.wire), flow.state],
    ...[String(flow.packetsOut), String(flow.packetsIn)],
    ...(wide ? [String(flow.bytesOut), String(flow.bytesIn), flow.migration] : []),
  ]);
  return renderTable([[...heads, ...(wide ? ['BYTES OUT', 'BYTES IN', 'MIGRATION'] : [])], ...rows]);
}

export function podLines(pods: readonly PodView[], { wide }: TextOptions): string[] {
  if (pods.length === 0) return ['This node has no pods that its agent knows.'];
  const heads = ['POD', 'ADDRESSES', 'MOVES', 'FLOWS', 'PROGRAMS', 'HELD', 'MOVER'];
  const rows = pods.map((pod) => [
    ...[pod.name, pod.addresses.join(','), String(pod.epoch), String(pod.flows)],
    ...[pod.attached ? 'attached' : '-', pod.held ? 'yes' : 'no', pod.mover ?? '-'],
    ...(wide ? [pod.netns] : []),
  ]);
  return renderTable([[...heads, ...(wide ? ['NETNS'] : [])], ...rows]);
}

export function migrationLines(migrations: readonly ServalMigration[], options: TextOptions): string[] {
  if (migrations.length === 0) return ['No migrations.'];
  const { wide, now } = options;
  const heads = ['NAME', 'WORKLOAD', 'TO', 'RESULT', 'PHASE', 'FLOWS', 'LOST', 'FREEZE', 'SWITCH', 'AGE'];
  const rows = migrations.map((migration) => migrationRow(migration, wide, now));
  return renderTable([[...heads, ...(wide ? ['MIGRATION', 'REASON'] : [])], ...rows]);
}

function migrationRow(migration: ServalMigration, wide: boolean, now: number): string[] {
  const { metadata, status } = migration;
  const begin = [
    ...[metadata.name, workloadOf(migration), targetOf(migration) ?? '-'],
    migrationResult(migration) ?? 'running',
  ];
  if (status === undefined) return [...begin, 'waiting', '-', '-', '-', '-', '-'];
  const { flows = 0, startedAt, freezeMs, switchMs } = status;
  return [
    ...[...begin, stepOf(status), String(flows), String(lostFlows(migration)), ms(freezeMs), ms(switchMs)],
    startedAt === undefined ? '-' : formatAge(now - Date.parse(startedAt)),
    ...(wide ? [status.migration ?? '-', status.reason ?? ''] : []),
  ];
}

/** All about one: how it stands or ended, and its timeline. */
export function migrationDetail(migration: ServalMigration, { width }: TextOptions): string[] {
  const timeline = migration.status?.timeline ?? [];
  return [...timelineLines(timeline, width), summary(migration)];
}

function timelineLines(timeline: readonly TimelinePhase[], width: number): string[] {
  return timeline.length === 0 ? [] : [...renderTimeline(timeline, { width }), ''];
}

/** In one sentence how it stands or ended. */
export function summary(migration: ServalMigration): string {
  const { status, metadata } = migration;
  const result = migrationResult(migration);
  const begin = `${metadata.name}: ${workloadOf(migration)} to ${targetOf(migration) ?? 'any node'}:`;
  if (result === undefined || status === undefined)
    return `${begin} ${stageOf(migration, 'waiting to begin')}`;
  if (result === 'failed') return `${begin} not moved (${status.phase}): ${failure(status)}`;
  return `${begin} moved; ${figures(migration, status).join(', ')}`;
}

/**
 * Where it is, for people: the phase; in Kubernetes also the step of the source's agent, how many flows are to move, and what
 * the operator says of it while nothing has begun.
 */
export function stageOf({ status }: ServalMigration, waiting = 'waiting'): string {
  if (status?.phase === undefined) return waiting;
  const { sourceStep, flows } = status;
  const step = stepOf(status);
  const inStep = sourceStep !== undefined && step !== status.phase && flows !== undefined;
  const said = status.conditions?.find(({ type }) => type === 'Succeeded');
  const words = sourceStep === undefined && said?.status === 'Unknown' && said.message !== '';
  return `${step}${inStep ? `, ${flows} flows` : ''}${words ? ` (${said.message})` : ''}`;
}

/** In directory mode the phase is the step. */
function stepOf({ phase = 'waiting', sourceStep }: Status): string {
  return sourceStep === undefined || sourceStep === phase ? phase : `${phase}, ${sourceStep}`;
}

/** Where it goes, as far as that is known. */
export function targetOf({ spec, status }: ServalMigration): string | undefined {
  return status?.targetNode ?? spec.targetNode;
}

function figures(migration: ServalMigration, status: Status): string[] {
  const { flows = 0, lost = {}, freezeMs, switchMs, replayed } = status;
  const lostCount = lostFlows(migration);
  return [
    `${flows} flows`,
    lostCount === 0 ? 'none lost' : `${lostCount} lost (${formatCounts(lost)})`,
    ...(freezeMs === undefined ? [] : [`frozen for ${formatMs(freezeMs)}`]),
    ...(switchMs === undefined ? [] : [`switched in ${formatMs(switchMs)}`]),
    ...(replayed === undefined ? [] : [`${replayed} packets replayed`]),
  ];
}

export function statusLines(status: StatusView, { now }: TextOptions): string[] {
  const { checks, drops, flows, openMigrations } = status;
  const up = formatAge(now - Date.parse(status.startedAt));
  return [
    `node ${status.node}, agent ${status.version}, up ${up}, ${status.ready ? 'ready' : 'NOT READY'}`,
    ...checks.map(({ name, ok, reason }) => (ok ? `  ok    ${name}` : `  FAIL  ${name}: ${reason ?? '?'}`)),
    ...renderTable([
      ['nodes', String(status.nodes)],
      ['pods', String(status.pods)],
      ['flows', formatCounts(flows)],
      ['migrations', formatCounts(openMigrations)],
      ['drops', formatCounts(drops)],
    ]),
  ];
}

function lostFlows({ status }: ServalMigration): number {
  return Object.values(status?.lost ?? {}).reduce((sum, count) => sum + count, 0);
}

function failure({ reason, conditions }: Status): string {
  const said = conditions?.find(({ type }) => type === 'Succeeded')?.message;
  return reason ?? (said === undefined || said === '' ? 'no reason is known' : said);
}

function ms(value: number | undefined): string {
  return value === undefined ? '-' : formatMs(value);
}
