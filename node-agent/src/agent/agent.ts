/** One node's agent: puts the parts together, in the order in which they need each other. */
import { randomBytes } from 'node:crypto';
import { ServalError } from '@serval/api';
import {
  makeLog,
  type NodeDirectory,
  runChecks,
  startMetricsServer,
  type Check,
  type Logger,
} from '@serval/kube-runtime';
import { GatewayRoutes } from '../host/gateway-routes.js';
import { openKernelSettings } from '../host/kernel-settings.js';
import { goFirst } from '../host/priority.js';
import { CriuMover } from '../movers/criu.js';
import { ExternalMover } from '../movers/external.js';
import { criuMover } from '../movers/mover.js';
import type { Endpoint } from '../datapath/types.js';
import type { Event } from '../protocol/effects.js';
import type { NodeName, Refused } from '../protocol/messages.js';
import { SignallingServer } from '../signalling/index.js';
import { startLocalApi } from './api.js';
import type { MigrationBook } from './book.js';
import { Capabilities } from './capabilities.js';
import type { AgentConfig } from './config.js';
import { declaredMigrations } from './declared-migrations.js';
import { openGround, type Closer, type Ground } from './ground.js';
import { KeptShelf } from './kept-shelf.js';
import { flowsByState, LocalFacade } from './local-facade.js';
import { AgentMetrics } from './metrics.js';
import { Observations } from './observations.js';
import { PeerWorks } from './peer-work.js';
import { PodFollower } from './pod-follower.js';
import { PortGuard } from './port-guard.js';
import { PodRegistry, resourceOf, type AgentPod } from './pods.js';
import { ProtocolCore } from './protocol-core.js';
import { Runner } from './runner.js';
import { commandSandboxes } from './sandbox.js';
import { AgentServices } from './services/index.js';
import { ReplicaNews } from './services/replica-news.js';
import { makeReports, type ReportParts, type Reports } from './services/reports.js';
import { SourceWorks } from './source-work.js';
import { StaleRoutes } from './stale-routes.js';
import { Sweeper } from './sweeper.js';
import { TargetWorks } from './target-work.js';
import { WaitingPods } from './waiting-pods.js';
import { doWork, type Works } from './works.js';
import { collectAll, keepYoungRoomModest, withSmallYoungRoom } from './young-heap.js';

export interface Agent {
  /** Ends the agent. The data plane goes on without it. */
  close(): Promise<void>;
}

/** @throws ServalError that names what is missing; nothing is left running then */
export async function startAgent(config: AgentConfig, version: string): Promise<Agent> {
  const log = makeLog({ level: config.logLevel, base: { node: config.node } });
  const closers: Closer[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer();
      } catch (error) {
        log.error({ err: error }, 'closing failed');
      }
    }
  };
  try {
    await assemble(config, version, log, closers);
    log.info({ version }, 'ready');
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function assemble(config: AgentConfig, version: string, log: Logger, closers: Closer[]): Promise<void> {
  // Whoever is held waits for this process: it goes before what keeps the processors busy.
  goFirst();
  await openKernelSettings();
  const ground = await openGround(config, version, log, closers);
  const { nodes, store, datapath, state, records, client } = ground;
  const pods = new PodRegistry(datapath);
  const waiting = new WaitingPods(state, records);
  const core = new ProtocolCore({
    ...{ node: config.node, deadlines: config.deadlines, directory: nodes, records },
    isHere: (workload) => pods.hostsWorkload(workload),
    podAt: (migration, { name, uid }) => waiting.podOf(migration) ?? pods.hosting(uid)?.name ?? name,
  });
  const metrics = metricsOf(ground, core, version);
  const migrations = await declaredMigrations(ground, log);
  const { book } = migrations;
  const observe = new Observations(log, metrics, book, (role, migration, phase) => {
    if (role === 'source') reports.residents.touch();
    if (role === 'target') migrations.targetAt(migration, phase);
  });
  const ports = new PortGuard((error) => observe.failed('reserving ports', error));
  pods.onGone(({ netns }) => ports.forget(netns));
  const external = new ExternalMover();
  const warm = (): void => void runner.handle(config.node, greeting);
  const reports = reportsOf(config, ground, { pods, core, waiting, metrics, warm, log });
  const parts = { core, pods, ports, waiting, external, observe, metrics, reports };
  const works = makeWorks(config, ground, parts);
  const runner: Runner = new Runner({
    node: config.node,
    core,
    request: (to, message, timeoutMs) => client.request(to, endpointOf(nodes, to), message, { timeoutMs }),
    work: (role, migration, work, request) =>
      doWork(works, { role, migration, work }, core.workload(role, migration), request),
    store: state,
    observe,
  });
  const dispatch = (event: Event): void => runner.dispatch(event);
  closers.push(
    () => runner.settled(),
    () => runner.stop(),
  );
  const podFollower = new PodFollower({ node: config.node, pods, waiting, log });
  await podFollower.takeWaiting(waiting.all());
  closers.push(await podFollower.follow(store));
  dispatch({ type: 'restart' });
  closers.push(reports.start());
  metrics.servesBy(await serveOthers(config, ground, { core, runner, works, reports }, closers));
  const sweeper = new Sweeper({ datapath, pods, ports, core, dispatch, log });
  closers.push(() => sweeper.stop());
  closers.push(migrations.follow({ node: config.node, pods, core, dispatch }));
  const services = await serveNames(config, ground, { pods, reports, metrics, log }, closers);
  const local = { core, pods, book, external, dispatch, metrics, reports, services, log };
  collectAll();
  closers.push(keepYoungRoomModest());
  await serveHere(config, version, ground, local, closers);
  await announce(config, version, ground, log, closers);
}

function metricsOf(
  { datapath, resources, certifiedUntil }: Ground,
  core: ProtocolCore,
  version: string,
): AgentMetrics {
  const metrics = new AgentMetrics(
    {
      flows: () => flowsByState(datapath),
      drops: () => datapath.drops(),
      openMigrations: () => core.open(),
      resourceProblems: resources.problems,
    },
    { version, node: process.version },
  );
  if (certifiedUntil !== undefined) metrics.certifiedUntil(certifiedUntil);
  return metrics;
}

function reportsOf(
  { node }: AgentConfig,
  { state, records, nodes, store, client }: Ground,
  parts: Pick<ReportParts, 'pods' | 'core' | 'waiting' | 'metrics' | 'warm' | 'log'>,
): Reports {
  const request: ReportParts['request'] = (to, message, timeoutMs) =>
    client.request(to, endpointOf(nodes, to), message, { timeoutMs });
  return makeReports({ node, state, records, nodes, store, request, ...parts });
}

/** A question about a migration that never was: this node asks itself, and its own code stays compiled. */
const greeting = { kind: 'outcome', migration: '0000000000000000' } as const;

interface WorkParts {
  core: ProtocolCore;
  pods: PodRegistry;
  ports: PortGuard;
  waiting: WaitingPods;
  external: ExternalMover;
  observe: Observations;
  metrics: AgentMetrics;
  reports: Reports;
}

function makeWorks(
  config: AgentConfig,
  { datapath, nodes, store, client, resources: { kubernetes } }: Ground,
  { core, pods, ports, waiting, external, observe, metrics, reports }: WorkParts,
): Works {
  const criu = criuMover(new CriuMover({ criuPath: config.criu }));
  const routes = new GatewayRoutes();
  pods.onGone(({ netns }) => routes.forget(netns));
  const staleRoutes = new StaleRoutes(routes, (error) =>
    observe.failed('a route for an address that was left', error),
  );
  staleRoutes.follow(pods);
  const common = {
    datapath,
    pods,
    kept: new KeptShelf(datapath, metrics),
    routes,
    ports,
    staleRoutes,
    sandboxes: kubernetes?.sandboxes ?? (config.sandbox && commandSandboxes(config.sandbox)),
    imagesDir: config.imagesDir,
    moverOf: (name: string) => (name === 'external' ? external : criu),
    nextFlowId: flowIds(),
  };
  const source = new SourceWorks({
    ...common,
    quiesceMs: config.deadlines.quiesceMs,
    nodeOf: (address) => nodes.nodeOf(address),
    sendImages: async (target, migration, dir, signal) => {
      await client.sendImages(target, endpointOf(nodes, target), migration, dir, { signal });
    },
    span: (migration, name, startMs, durationMs) =>
      observe.span('source', migration, name, startMs, durationMs),
    ...(kubernetes === undefined ? {} : { mayGo: kubernetes.mayGo }),
    leaving: (pod, addresses) => reports.residents.left(pod, addresses),
    left: async (workload) => {
      await store.delete('ServalPod', workload);
    },
  });
  const arrived = async (pod: AgentPod): Promise<void> => {
    await store.apply(resourceOf(pod, config.node));
  };
  const isPending = (migration: string): boolean =>
    ['prepared', 'held'].includes(core.phase('peer', migration) ?? '');
  return {
    source,
    target: new TargetWorks({ ...common, waiting, arrived }),
    peer: new PeerWorks({
      ...common,
      isPending,
      arriving: (migration) => core.workload('target', migration),
    }),
  };
}

/** Numbers that begin by chance, so that those of an earlier agent don't come again. */
function flowIds(): () => bigint {
  let last = BigInt(`0x${randomBytes(7).toString('hex')}`);
  return () => ++last;
}

/** Other nodes' agents. */
async function serveOthers(
  config: AgentConfig,
  { credentials }: Ground,
  { core, runner, works, reports }: { core: ProtocolCore; runner: Runner; works: Works; reports: Reports },
  closers: Closer[],
): Promise<SignallingServer> {
  const server = new SignallingServer({
    credentials,
    onMessage: (from, message) =>
      message.kind === 'report' ? reports.exchange.answer(from, message) : runner.handle(from, message),
    images: {
      directory: (from, migration) => {
        const refused = core.refusesImages(from, migration);
        return refused === undefined
          ? Promise.resolve(works.target.imagesDir(migration))
          : Promise.reject(unexpectedImages(from, migration, refused));
      },
    },
  });
  await server.listen(config.signalling);
  closers.push(() => server.close());
  return server;
}

function unexpectedImages(from: NodeName, migration: string, { refusal, reason }: Refused): ServalError {
  return new ServalError(refusal === 'notAuthorised' ? 'ERR_NO_PERMISSION' : 'ERR_CONFLICT', {
    subject: `images of migration ${migration} from ${from}`,
    reason,
    remedy: 'The move was given up meanwhile, or is over; start it again where the workload is',
  });
}

/** Who connects to a service's name gets a replica, from here on. */
async function serveNames(
  { node, services: { hostProcesses, cgroup } }: AgentConfig,
  { store, datapath, nodes }: Ground,
  {
    pods,
    reports: { exchange },
    metrics,
    log,
  }: { pods: PodRegistry; reports: Reports; metrics: AgentMetrics; log: Logger },
  closers: Closer[],
): Promise<AgentServices> {
  const table = await datapath.openServices({
    ...(cgroup === undefined ? {} : { cgroup, everyClient: true }),
  });
  closers.push(() => table.close());
  const news = new ReplicaNews({
    silentSince: (other) => exchange.silentSince(other),
    nodeOf: (address) => nodes.nodeOf(address),
    setInterests: (others) => exchange.setInterests(others),
  });
  exchange.onReport((other, report) => news.take(other, report));
  const services = new AgentServices({
    node,
    store,
    datapath,
    services: table,
    pods,
    news,
    ...(hostProcesses ? { hostNetns: '/proc/self/ns/net' } : {}),
    nextFlowId: flowIds(),
    log,
    count: (what, outcome, sockets = 1) => metrics.sockets.inc({ what, outcome }, sockets),
  });
  closers.push(() => services.stop());
  await withSmallYoungRoom(() => services.start());
  return services;
}

interface LocalParts {
  core: ProtocolCore;
  pods: PodRegistry;
  book: MigrationBook;
  external: ExternalMover;
  dispatch: (event: Event) => void;
  metrics: AgentMetrics;
  reports: Reports;
  services: AgentServices;
  log: Logger;
}

/** The command line, and whoever watches over this agent. */
async function serveHere(
  config: AgentConfig,
  version: string,
  { datapath, store, nodes }: Ground,
  { core, pods, book, external, dispatch, metrics, reports, services, log }: LocalParts,
  closers: Closer[],
): Promise<void> {
  const ready: Record<string, Check> = {
    node: () =>
      nodes.addressOf(config.node) === undefined ? `no ServalNode ${config.node} is declared` : undefined,
    dataPlane: async () => void (await datapath.pods()),
  };
  const facade = new LocalFacade({
    node: config.node,
    version,
    frozenMs: config.deadlines.frozenMs,
    datapath,
    pods,
    store,
    directory: nodes,
    book,
    external,
    dispatch,
    phaseOf: (role, migration) => core.phase(role, migration),
    openMigrations: () => core.open(),
    reports: () => reports.views(),
    services,
    checks: () => runChecks(ready),
  });
  const api = await startLocalApi(config.socket, facade, (error) =>
    log.error({ err: error }, 'the local API failed'),
  );
  closers.push(() => api.close());
  const { address, port } = config.metrics;
  const health = { events: () => undefined };
  const http = await startMetricsServer({ address, port, registry: metrics.registry, health, ready });
  closers.push(() => http.close());
}

/** In Kubernetes this node says itself that it is there. */
async function announce(
  config: AgentConfig,
  version: string,
  { resources: { kubernetes } }: Ground,
  log: Logger,
  closers: Closer[],
): Promise<void> {
  const capabilities = new Capabilities(config, log);
  const registration = await kubernetes?.register({
    agentVersion: version,
    capabilities: () => capabilities.list(),
  });
  if (registration === undefined) return;
  capabilities.onChange(() => registration.touch());
  closers.push(() => registration.stop());
}

function endpointOf(nodes: NodeDirectory, node: NodeName): Endpoint {
  const address = nodes.addressOf(node);
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address ?? '') ?? [];
  if (host !== undefined && port !== undefined) return { address: host, port: Number(port) };
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `node ${node}`,
    reason: 'there is no ServalNode of that name, or it has no address',
    remedy: 'Declare it, with the address of its agent',
  });
}
