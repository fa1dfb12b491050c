/** `check`: whether what is installed works. Nothing is changed. */
import { migrationResult, type ServalMigration, type ServalNode, type ServalService } from '@serval/api';
import { list, paths, type Cluster } from '../cluster.js';
import {
  anywhere,
  isReady,
  leaseName,
  podsOf,
  troubleOf,
  versionOf,
  workloadsOf,
  type Component,
} from '../components.js';
import { problemsOf } from '../describe-services.js';
import { overdue } from '../describe-status.js';
import { leaderOf } from '../status.js';
import type { LeaseObject, Node, Pod, SigningRequest, Workload } from '../types.js';
import { readCrds } from './before.js';
import { certificateFindings } from './certificates.js';
import { installedFindings } from './crds.js';
import { fail, look, ok, someOf, warn, type Finding } from './finding.js';

export async function checkAfter(cluster: Cluster, version: string, now: number): Promise<Finding[]> {
  const agents = await workloadsOf(cluster, 'agent').catch(() => []);
  const parts = await Promise.all([
    look('CRDs', async () => installedFindings(cluster.ownCrds, await readCrds(cluster))),
    look('operator', () => component(cluster, 'operator')),
    look('leader', () => leader(cluster, now)),
    look('agents', () => component(cluster, 'agent')),
    look('versions', () => versions(cluster, version)),
    look('nodes', async () =>
      coverageFindings(
        await list<Node>(cluster, paths.nodes()),
        await list<ServalNode>(cluster, paths.servalNodes()),
        agents,
      ),
    ),
    look('certificates', async () =>
      certificateFindings(
        await list<SigningRequest>(cluster, paths.signingRequests()),
        agents.map(({ metadata }) => metadata.name),
        now,
      ),
    ),
    look('services', async () => serviceFindings(await list<ServalService>(cluster, paths.services()))),
    look('migrations', async () =>
      migrationFindings(await list<ServalMigration>(cluster, paths.migrations()), now),
    ),
  ]);
  return parts.flat();
}

async function component(cluster: Cluster, which: Component): Promise<Finding[]> {
  const [workloads, pods] = await Promise.all([workloadsOf(cluster, which), podsOf(cluster, which)]);
  return componentFindings(which, workloads, pods);
}

export function componentFindings(
  which: Component,
  workloads: readonly Workload[],
  pods: readonly Pod[],
): Finding[] {
  const name = which === 'agent' ? 'agents' : 'operator';
  if (workloads.length === 0)
    return which === 'agent'
      ? [
          warn(
            name,
            'none are installed: services are served by kube-proxy, and nothing moves',
            'Set agent.enabled=true in the chart',
          ),
        ]
      : [
          fail(
            name,
            'it is not installed',
            'Install the chart: helm install serval charts/serval -n serval-system --create-namespace',
          ),
        ];
  return workloads.map((workload) => rollout(which, workload, pods));
}

function rollout(which: Component, workload: Workload, pods: readonly Pod[]): Finding {
  const { name, namespace = 'default' } = workload.metadata;
  const { wanted, ready } = counts(workload);
  const whole = `${which === 'agent' ? 'agents' : which} (${namespace}/${name})`;
  if (wanted === 0)
    return warn(
      whole,
      'none are wanted: no node fits, or replicas is 0',
      'See its nodeSelector and tolerations',
    );
  if (ready >= wanted) return ok(whole, `${ready} of ${wanted} pods are ready`);
  const words = pods
    .filter((pod) => !isReady(pod))
    .slice(0, 3)
    .map((pod) => `${pod.metadata.name}: ${troubleOf(pod)}`);
  // One operator is enough; each agent that lacks is a node that lacks.
  const result = which === 'operator' && ready > 0 ? warn : fail;
  return result(
    whole,
    `${ready} of ${wanted} pods are ready${words.length === 0 ? '' : ` (${words.join('; ')})`}`,
    `kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=${which}`,
  );
}

/** Deployments and DaemonSets say it in other fields. */
function counts({ spec, status = {} }: Workload): { wanted: number; ready: number } {
  return {
    wanted: status.desiredNumberScheduled ?? spec?.replicas ?? 0,
    ready: status.numberReady ?? status.readyReplicas ?? 0,
  };
}

async function leader(cluster: Cluster, now: number): Promise<Finding[]> {
  const leases = await anywhere<LeaseObject>(cluster, paths.leases, {
    fieldSelector: `metadata.name=${leaseName}`,
  });
  const { holder, problem } = leaderOf(leases, now);
  if (problem === undefined) return [ok('leader', `${holder ?? ''} leads`)];
  return [
    fail(
      'leader',
      problem,
      'See the log of the operator: kubectl logs -l app.kubernetes.io/component=operator -A',
    ),
  ];
}

async function versions(cluster: Cluster, own: string): Promise<Finding[]> {
  const pods = (await Promise.all([podsOf(cluster, 'operator'), podsOf(cluster, 'agent')])).flat();
  return versionFindings(pods, own);
}

export function versionFindings(pods: readonly Pod[], own: string): Finding[] {
  const images = pods.flatMap(
    ({ spec }) => spec?.containers?.slice(0, 1).map(({ image = '' }) => image) ?? [],
  );
  const tags = [...new Set(images.map(versionOf))].sort();
  if (tags.length === 0) return [];
  if (tags.length > 1)
    return [
      warn(
        'versions',
        `operator and agents are of several: ${tags.map((tag) => tag || 'one named by digest').join(', ')}`,
        'Wait where an upgrade is going on; else see kubectl get pods -A -l app.kubernetes.io/name=serval -o wide',
      ),
    ];
  const [tag = ''] = tags;
  if (tag === own || tag === '')
    return [ok('versions', `operator and agents are of one version${tag === '' ? '' : `: ${tag}`}`)];
  return [
    warn(
      'versions',
      `operator and agents are of ${tag}, and this program is of ${own}`,
      `Use the kubectl-serval of ${tag}`,
    ),
  ];
}

/** Nodes that get an agent, and those that have said that they are ready. */
export function coverageFindings(
  nodes: readonly Node[],
  servalNodes: readonly ServalNode[],
  agents: readonly Workload[],
): Finding[] {
  if (agents.length === 0) return [];
  const ready = new Map(
    servalNodes.map((each) => [
      each.metadata.name,
      each.status?.conditions?.find(({ type }) => type === 'Ready'),
    ]),
  );
  const wanted = nodes.filter(
    (node) => node.spec?.unschedulable !== true && agents.some((agent) => fits(node, agent)),
  );
  const missing = wanted
    .filter(({ metadata }) => !ready.has(metadata.name))
    .map(({ metadata }) => metadata.name);
  const unready = wanted.flatMap(({ metadata: { name } }) => {
    const condition = ready.get(name);
    return !ready.has(name) || condition?.status === 'True'
      ? []
      : [`${name} (${condition?.message ?? 'it has not said anything yet'})`];
  });
  const known = new Set(nodes.map(({ metadata }) => metadata.name));
  const stale = servalNodes.map(({ metadata }) => metadata.name).filter((name) => !known.has(name));
  return [
    ...(missing.length === 0
      ? []
      : [
          fail('nodes', `no ServalNode: ${someOf(missing)}`, 'See whether the agent runs there, and its log'),
        ]),
    ...(unready.length === 0
      ? []
      : [
          fail(
            'nodes',
            `ServalNode not Ready: ${someOf(unready)}`,
            "See the agent's log: kubectl logs -l app.kubernetes.io/component=agent --all-containers",
          ),
        ]),
    ...(missing.length + unready.length > 0
      ? []
      : [ok('nodes', `each of ${wanted.length} schedulable nodes has a Ready ServalNode`)]),
    ...(stale.length === 0
      ? []
      : [
          warn(
            'nodes',
            `ServalNodes of nodes that are gone: ${someOf(stale)}`,
            'kubectl delete servalnode NAME',
          ),
        ]),
  ];
}

function fits({ metadata }: Node, agent: Workload): boolean {
  return Object.entries(agent.spec?.template?.spec?.nodeSelector ?? {}).every(
    ([key, value]) => metadata.labels?.[key] === value,
  );
}

export function serviceFindings(services: readonly ServalService[]): Finding[] {
  const wrong = services.flatMap((service) => {
    const { name, namespace = 'default' } = service.metadata;
    const problems = problemsOf(service);
    return problems.length === 0
      ? []
      : [
          fail(
            `service ${namespace}/${name}`,
            problems.join('; '),
            `kubectl serval services ${name} -n ${namespace}`,
          ),
        ];
  });
  return wrong.length > 0 ? wrong : [ok('services', `all ${services.length} ServalServices have replicas`)];
}

function migrationFindings(migrations: readonly ServalMigration[], now: number): Finding[] {
  const running = migrations.filter((each) => migrationResult(each) === undefined);
  const late = running.filter((each) => overdue(each, now));
  if (late.length === 0) return [ok('migrations', `${running.length} run, none past its deadline`)];
  return late.map(({ metadata: { name, namespace = 'default' } }) =>
    fail(
      `migration ${namespace}/${name}`,
      'it runs past its deadline',
      `kubectl serval migrations ${name} -n ${namespace}; docs/runbooks/ServalMigrationStuck.md`,
    ),
  );
}
