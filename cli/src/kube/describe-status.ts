/** Pure: how the installation is, for people. */
import type { ServalMigration } from '@serval/api';
import type { TextOptions } from '../describe.js';
import { formatAge, formatCounts, renderTable } from '../text.js';

export interface NodeView {
  name: string;
  ready: boolean;
  /** why not */
  reason?: string;
  address: string;
  zone?: string;
  version?: string;
  kernel?: string;
  lastSeen?: string;
  capabilities: Array<{ name: string; available: boolean; message?: string }>;
}

export interface LeaderView {
  holder?: string;
  renewTime?: string;
  /** nobody leads, in words */
  problem?: string;
}

export interface StatusReport {
  healthy: boolean;
  /** what is not healthy, in words */
  problems: string[];
  nodes: NodeView[];
  operator: { leader: LeaderView; pods: number; readyPods: number };
  services: { total: number; notReady: number };
  migrations: { running: number; succeeded: number; failed: number; overdue: number };
}

export function statusLines(report: StatusReport, options: TextOptions): string[] {
  const { operator, services, migrations, problems, healthy } = report;
  const { leader } = operator;
  return [
    ...nodeLines(report.nodes, options),
    '',
    ...renderTable([
      [
        'operator',
        `${leader.holder === undefined ? 'nobody leads' : `${leader.holder} leads`}, ${operator.readyPods} of ${operator.pods} pods ready`,
      ],
      ['services', `${services.total}, of which ${services.notReady} not ready`],
      ['migrations', formatCounts(migrations)],
    ]),
    ...(healthy ? ['healthy'] : problems.map((problem) => `PROBLEM  ${problem}`)),
  ];
}

function nodeLines(nodes: readonly NodeView[], { wide, now }: TextOptions): string[] {
  if (nodes.length === 0) return ['No ServalNodes: no agent has declared its node.'];
  const heads = [
    'NODE',
    'READY',
    'VERSION',
    'KERNEL',
    'SEEN',
    'CAPABILITIES',
    ...(wide ? ['ZONE', 'ADDRESS'] : []),
  ];
  const rows = nodes.map((node) => [
    ...[node.name, node.ready ? 'yes' : 'NO', node.version ?? '-', node.kernel ?? '-'],
    node.lastSeen === undefined ? '-' : formatAge(now - Date.parse(node.lastSeen)),
    capabilityText(node, wide),
    ...(wide ? [node.zone ?? '-', node.address] : []),
  ]);
  return renderTable([heads, ...rows]);
}

/** `datapath, services, not criu`; wide: with the reason. */
function capabilityText({ capabilities }: NodeView, wide: boolean): string {
  const parts = capabilities.map(({ name, available, message }) => {
    if (available) return name;
    return wide && message !== undefined ? `not ${name} (${message})` : `not ${name}`;
  });
  return parts.join(', ') || '-';
}

/** As the CRD says it, where the spec does not. */
const defaultDeadlineSeconds = 600;
/** What is taken back takes its time. */
const graceMs = 60_000;

/** Whether it runs for longer than it may. */
export function overdue({ metadata, spec, status }: ServalMigration, now: number): boolean {
  const began = Date.parse(status?.startedAt ?? metadata.creationTimestamp ?? '');
  return now - began > (spec.deadlineSeconds ?? defaultDeadlineSeconds) * 1_000 + graceMs;
}
