/** `check --pre`: whether Serval can be installed here, and what of it will work. Nothing is changed. */
import type { Cluster } from '../cluster.js';
import { find, isForbidden, list, paths } from '../cluster.js';
import { anywhere } from '../components.js';
import type { Crd, KubeThing, Node, Workload } from '../types.js';
import { obstacleFindings } from './crds.js';
import { fail, look, ok, warn, type Finding } from './finding.js';
import { networkFindings } from './network.js';
import { nodeFindings } from './nodes.js';
import { permissionFindings } from './permissions.js';

export async function checkBefore(cluster: Cluster, namespace: string): Promise<Finding[]> {
  const parts = await Promise.all([
    look('API server', () => apiServer(cluster)),
    look('permissions to install', async () =>
      permissionFindings(cluster, namespace, await isThere(cluster, namespace)),
    ),
    look('CRDs', async () => obstacleFindings(cluster.ownCrds, await readCrds(cluster))),
    look(`namespace ${namespace}`, () => podSecurity(cluster, namespace)),
    look('priority class', () => priorityClass(cluster)),
    look('nodes', () => nodes(cluster)),
    look('network plugin', () => network(cluster)),
  ]);
  return parts.flat();
}

export async function readCrds(cluster: Cluster): Promise<Map<string, Crd>> {
  const names = Object.values(cluster.ownCrds).map(({ plural }) => `${plural}.serval.io`);
  const found = await Promise.all(names.map((name) => find<Crd>(cluster, paths.crds(), name)));
  return new Map(names.flatMap((name, i) => (found[i] === undefined ? [] : [[name, found[i]]])));
}

/** ValidatingAdmissionPolicy is v1, and tokens tell the node of their pod, from then on. */
const oldest = 30;

async function apiServer(cluster: Cluster): Promise<Finding[]> {
  const {
    major = '',
    minor = '',
    gitVersion,
  } = await cluster.request<Record<string, string | undefined>>({
    path: '/version',
  });
  const said = gitVersion ?? `${major}.${minor}`;
  const isNew = Number(major) > 1 || (major === '1' && parseInt(minor, 10) >= oldest);
  return [
    isNew
      ? ok('API server', `${said}, at ${cluster.server}`)
      : fail(
          'API server',
          `${said} is older than 1.${oldest}: there is no ValidatingAdmissionPolicy v1, which binds agents to their nodes`,
          'Upgrade the cluster',
        ),
  ];
}

function readNamespace(cluster: Cluster, namespace: string): Promise<KubeThing | undefined> {
  return find<KubeThing>(cluster, paths.namespaces(), namespace);
}

/** Who may not look at namespaces is not told that one is missing. */
async function isThere(cluster: Cluster, namespace: string): Promise<boolean> {
  try {
    return (await readNamespace(cluster, namespace)) !== undefined;
  } catch (error) {
    if (isForbidden(error)) return true;
    throw error;
  }
}

const enforceLabel = 'pod-security.kubernetes.io/enforce';

async function podSecurity(cluster: Cluster, namespace: string): Promise<Finding[]> {
  const name = `namespace ${namespace}`;
  const remedy = `kubectl label namespace ${namespace} ${enforceLabel}=privileged --overwrite`;
  const found = await readNamespace(cluster, namespace);
  if (found === undefined)
    return [
      warn(
        name,
        'it is not there yet (helm install --create-namespace makes it); agents need Pod Security "privileged" in it',
        remedy,
      ),
    ];
  const level = found.metadata.labels?.[enforceLabel];
  if (level === 'privileged') return [ok(name, 'Pod Security lets agents in')];
  if (level === undefined)
    return [
      warn(
        name,
        'no label says which Pod Security holds in it: the cluster\'s default does, and agents need "privileged"',
        remedy,
      ),
    ];
  return [
    fail(name, `Pod Security "${level}" keeps agents out: they use their node's network and paths`, remedy),
  ];
}

async function priorityClass(cluster: Cluster): Promise<Finding[]> {
  const wanted = 'system-node-critical';
  const found = await find(cluster, '/apis/scheduling.k8s.io/v1/priorityclasses', wanted);
  if (found !== undefined) return [ok(`priority class ${wanted}`, 'agents will have it')];
  return [
    fail(
      `priority class ${wanted}`,
      'it is not there, and agents ask for it',
      'Every API server makes it when it starts: see its log',
    ),
  ];
}

async function nodes(cluster: Cluster): Promise<Finding[]> {
  const found = await list<Node>(cluster, paths.nodes());
  if (found.length === 0)
    return [warn('nodes', 'the cluster has none', 'Add nodes: agents come to them by themselves')];
  return nodeFindings(found);
}

async function network(cluster: Cluster): Promise<Finding[]> {
  const [daemonSets, found, ciliumConfig, felix] = await Promise.all([
    anywhere<Workload>(cluster, paths.daemonSets, {}),
    list<Node>(cluster, paths.nodes()),
    optional<{ data?: Record<string, string> }>(
      cluster,
      '/api/v1/namespaces/kube-system/configmaps',
      'cilium-config',
    ),
    optional<{ spec?: { bpfEnabled?: boolean } }>(
      cluster,
      '/apis/crd.projectcalico.org/v1/felixconfigurations',
      'default',
    ),
  ]);
  const calicoEbpf = felix?.spec?.bpfEnabled;
  return networkFindings({
    daemonSets,
    nodes: found,
    ...(ciliumConfig?.data === undefined ? {} : { ciliumConfig: ciliumConfig.data }),
    ...(calicoEbpf === undefined ? {} : { calicoEbpf }),
  });
}

/** Settings of others: whoever may not read them is told what may be, in place of what is. */
function optional<Thing>(cluster: Cluster, path: string, name: string): Promise<Thing | undefined> {
  return find<Thing>(cluster, path, name).catch(() => undefined);
}
