/** Which pieces a bug report has. */
import { list, paths, type Cluster } from '../cluster.js';
import { anywhere, isReady, leaseName, podsOf, workloadsOf, type Component } from '../components.js';
import { gatherChecks } from '../check/command.js';
import { readCrds } from '../check/before.js';
import { reportLines } from '../check/finding.js';
import type { Session } from '../session.js';
import { gatherStatus } from '../status.js';
import type { KubeThing, Node, Pod, SigningRequest } from '../types.js';
import { logPieces } from './logs.js';
import type { Piece } from './collect.js';

export interface Bounds {
  /** pods of agents whose logs and answers are taken: those that are not ready first */
  agents: number;
  /** lines of each container's log, the last ones */
  lines: number;
}

export interface Planned {
  pieces: Piece[];
  /** what was left out on purpose */
  notes: string[];
}

export async function planPieces(session: Session, bounds: Bounds): Promise<Planned> {
  const { cluster } = session;
  const unknown: Piece[] = [];
  const [operators = [], agents = []] = await Promise.all(
    (['operator', 'agent'] as const).map((which) =>
      podsOf(cluster, which).catch((error: Error) => {
        unknown.push(unlisted(which, error));
        return [];
      }),
    ),
  );
  const chosen = [...agents].sort((a, b) => Number(isReady(a)) - Number(isReady(b))).slice(0, bounds.agents);
  const left = agents.length - chosen.length;
  return {
    pieces: [
      ...general(session),
      ...resources(cluster),
      ...logPieces(cluster, [...operators, ...chosen], bounds.lines),
      ...chosen.flatMap((pod) => answers(session, pod)),
      ...unknown,
    ],
    notes: [
      `Of each container the last ${bounds.lines} lines of its log are here, 1 MiB at most; so are those of its run before, where there was one.`,
      ...(left > 0 ? [`Of ${left} other agents neither logs nor answers were taken (see --agents).`] : []),
      'Of nodes, their conditions, addresses, labels and versions are here; lists of images and volumes are not, nor are metadata.managedFields of anything.',
    ],
  };
}

/** That there are no logs must be told too. */
function unlisted(which: Component, error: Error): Piece {
  const name = which === 'agent' ? 'logs and answers of agents' : 'logs of the operator';
  return { name, what: '', get: () => Promise.reject(error) };
}

function general(session: Session): Piece[] {
  const { cluster, around } = session;
  return [
    {
      name: 'versions.yaml',
      what: 'versions of this program and of the API server',
      get: async () => ({
        kubectlServal: around.version,
        node: process.version,
        apiServer: await cluster.request({ path: '/version' }),
        context: cluster.context,
      }),
    },
    {
      name: 'check.txt',
      what: 'kubectl serval check',
      get: async () => text(reportLines(await gatherChecks(session, false))),
    },
    {
      name: 'check-pre.txt',
      what: 'kubectl serval check --pre',
      get: async () => text(reportLines(await gatherChecks(session, true))),
    },
    { name: 'status.yaml', what: 'kubectl serval status', get: () => gatherStatus(cluster, Date.now()) },
  ];
}

function resources(cluster: Cluster): Piece[] {
  const all = (name: string, what: string, get: () => Promise<KubeThing[]>): Piece => ({
    name: `resources/${name}.yaml`,
    what,
    get: async () => (await get()).map(withoutManagedFields),
  });
  return [
    all('servalmigrations', 'all ServalMigrations', () => list(cluster, paths.migrations())),
    all('servalservices', 'all ServalServices', () => list(cluster, paths.services())),
    all('servalnodes', 'all ServalNodes', () => list(cluster, paths.servalNodes())),
    all('endpointslices', 'EndpointSlices of ServalServices', () => slicesOfOurs(cluster)),
    all('crds', 'the CRDs of serval.io', async () => [...(await readCrds(cluster)).values()]),
    all('pods', 'pods of the operator and of the agents', async () =>
      (await Promise.all([podsOf(cluster, 'operator'), podsOf(cluster, 'agent')])).flat(),
    ),
    all('workloads', "the operator's Deployment and the agents' DaemonSet", async () =>
      (await Promise.all([workloadsOf(cluster, 'operator'), workloadsOf(cluster, 'agent')])).flat(),
    ),
    all('leases', 'the Lease of who leads', () =>
      anywhere<KubeThing>(cluster, paths.leases, { fieldSelector: `metadata.name=${leaseName}` }),
    ),
    all('certificates', "the agents' CertificateSigningRequests", async () =>
      (await list<SigningRequest>(cluster, paths.signingRequests())).filter(({ spec }) =>
        (spec?.signerName ?? '').startsWith('serval.io/'),
      ),
    ),
    all('events', 'Events about any of this', () => eventsOfOurs(cluster)),
    all('nodes', 'how nodes are', async () => (await list<Node>(cluster, paths.nodes())).map(usedOfNode)),
  ];
}

async function slicesOfOurs(cluster: Cluster): Promise<KubeThing[]> {
  const [services, slices] = await Promise.all([
    list<KubeThing>(cluster, paths.services()),
    list<KubeThing>(cluster, paths.slices()),
  ]);
  const ours = new Set(services.map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`));
  return slices.filter(({ metadata }) =>
    ours.has(`${metadata.namespace ?? ''}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`),
  );
}

async function eventsOfOurs(cluster: Cluster): Promise<KubeThing[]> {
  const pods = (await Promise.all([podsOf(cluster, 'operator'), podsOf(cluster, 'agent')])).flat();
  const namespaces = [...new Set(pods.flatMap(({ metadata }) => metadata.namespace ?? []))];
  const kinds = ['ServalMigration', 'ServalService', 'ServalNode'];
  const found = await Promise.all([
    ...kinds.map((kind) =>
      list<KubeThing>(cluster, paths.events(), { fieldSelector: `involvedObject.kind=${kind}` }),
    ),
    ...namespaces.map((namespace) => list<KubeThing>(cluster, paths.events(namespace))),
  ]);
  return [...new Map(found.flat().map((event) => [event.metadata.uid, event])).values()];
}

/** What an agent itself says, which no object has. */
function answers({ agents }: Session, pod: Pod): Piece[] {
  const node = pod.spec?.nodeName;
  if (node === undefined) return [];
  return (['status', 'flows', 'services', 'pods'] as const).map((word) => ({
    name: `agents/${node.slice(0, 60)}/${word}.yaml`,
    what: `what the agent of ${node} answers to ${word}`,
    get: () => agents.ask(node, [word]),
  }));
}

function usedOfNode({ metadata, spec, status }: Node): Node {
  const { conditions, addresses, nodeInfo } = status ?? {};
  return {
    metadata,
    ...(spec === undefined ? {} : { spec }),
    status: {
      ...(conditions === undefined ? {} : { conditions }),
      ...(addresses === undefined ? {} : { addresses }),
      ...(nodeInfo === undefined ? {} : { nodeInfo }),
    },
  };
}

function withoutManagedFields(thing: KubeThing): KubeThing {
  const metadata = Object.fromEntries(
    Object.entries(thing.metadata).filter(([key]) => key !== 'managedFields'),
  );
  return { ...thing, metadata: metadata as unknown as KubeThing['metadata'] };
}

function text(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}
