/** How the whole installation is: nodes, operator, services, migrations; and whether that is healthy. */
import type { ServalMigration, ServalNode, ServalService } from '@serval/api';
import { exitCode, print, type Output } from '../surroundings.js';
import { list, paths, type Cluster } from './cluster.js';
import { anywhere, isReady, leaseName, podsOf } from './components.js';
import {
  overdue,
  statusLines,
  type LeaderView,
  type NodeView,
  type StatusReport,
} from './describe-status.js';
import { problemsOf } from './describe-services.js';
import type { Session } from './session.js';
import type { LeaseObject } from './types.js';
import { migrationResult } from '@serval/api';

export async function showStatus({ cluster, around }: Session, output: Output): Promise<number> {
  const report = await gatherStatus(cluster, Date.now());
  print(around.screen, output, report, statusLines);
  return report.healthy ? exitCode.done : exitCode.failed;
}

/** @throws ServalError where it may not be read, or the CRDs are not there */
export async function gatherStatus(cluster: Cluster, now: number): Promise<StatusReport> {
  const [nodes, services, migrations, operators, leases] = await Promise.all([
    list<ServalNode>(cluster, paths.servalNodes()),
    list<ServalService>(cluster, paths.services()),
    list<ServalMigration>(cluster, paths.migrations()),
    podsOf(cluster, 'operator'),
    anywhere<LeaseObject>(cluster, paths.leases, { fieldSelector: `metadata.name=${leaseName}` }),
  ]);
  const views = nodes.map(nodeView).sort((a, b) => a.name.localeCompare(b.name));
  const leader = leaderOf(leases, now);
  const running = migrations.filter((each) => migrationResult(each) === undefined);
  const late = running.filter((each) => overdue(each, now)).map(nameOf);
  const unready = services.filter((each) => problemsOf(each).length > 0);
  const problems = [
    ...views
      .filter(({ ready }) => !ready)
      .map(({ name, reason }) => `node ${name} is not ready: ${reason ?? '?'}`),
    ...(views.length === 0 ? ['no node has an agent'] : []),
    ...(leader.problem === undefined ? [] : [leader.problem]),
    ...unready.map((each) => `service ${nameOf(each)}: ${problemsOf(each).join('; ')}`),
    ...late.map((name) => `migration ${name} runs past its deadline`),
  ];
  return {
    healthy: problems.length === 0,
    problems,
    nodes: views,
    operator: { leader, pods: operators.length, readyPods: operators.filter(isReady).length },
    services: { total: services.length, notReady: unready.length },
    migrations: {
      running: running.length,
      succeeded: migrations.filter((each) => migrationResult(each) === 'succeeded').length,
      failed: migrations.filter((each) => migrationResult(each) === 'failed').length,
      overdue: late.length,
    },
  };
}

function nameOf({ metadata }: { metadata: { name: string; namespace?: string } }): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`;
}

function nodeView({ metadata, spec, status = {} }: ServalNode): NodeView {
  const { agentVersion: version, kernelVersion: kernel, lastSeen, capabilities = [] } = status;
  const condition = status.conditions?.find(({ type }) => type === 'Ready');
  const ready = condition?.status === 'True';
  const words =
    condition === undefined ? 'its agent has not said anything yet' : condition.message || condition.reason;
  const told = { reason: ready ? undefined : words, zone: spec.zone, version, kernel, lastSeen };
  const known = Object.entries(told).filter(([, value]) => value !== undefined);
  return { name: metadata.name, ready, address: spec.address, capabilities, ...Object.fromEntries(known) };
}

/** Others' clocks are not exact: a lease is stale when it is older than several of its durations. */
const staleFactor = 4;
const staleMs = 60_000;

export function leaderOf(leases: readonly LeaseObject[], now: number): LeaderView {
  const lease = leases.find(({ spec }) => spec?.holderIdentity) ?? leases[0];
  if (lease === undefined) return { problem: 'no operator has ever led here: is it installed?' };
  const { holderIdentity, renewTime, leaseDurationSeconds } = lease.spec ?? {};
  if (!holderIdentity) return { problem: 'no operator leads: the last one gave its lease up' };
  const view = { holder: holderIdentity, ...(renewTime ? { renewTime } : {}) };
  const mayBeMs = Math.max(staleMs, staleFactor * 1_000 * (leaseDurationSeconds ?? 0));
  // Without a time it is none that counts.
  const isFresh = now - Date.parse(renewTime ?? '') <= mayBeMs;
  if (isFresh) return view;
  const since = renewTime ?? 'never';
  return { ...view, problem: `no operator leads: ${holderIdentity} has last renewed its lease at ${since}` };
}
