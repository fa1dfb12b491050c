/** What this node says of its pods and hears of others': the parts, put together. */
import type { ReportView } from '@serval/api';
import type { Logger, NodeDirectory, ResourceStore } from '@serval/kube-runtime';
import { native } from '../../native.js';
import type { NodeName } from '../../protocol/messages.js';
import type { AgentMetrics } from '../metrics.js';
import type { PodRegistry } from '../pods.js';
import type { ProtocolCore } from '../protocol-core.js';
import { steadyNow } from '../runner.js';
import type { WaitingPods } from '../waiting-pods.js';
import { EndWatch } from './end-watch.js';
import { Exchange, type ExchangeDeps, type ReportCounts } from './exchange.js';
import { LeftAddresses, type LeftStore } from './left-addresses.js';
import { LoadSampler } from './load-sampler.js';
import { hasEnded } from './process-end.js';
import { Residents } from './residents.js';

export interface ReportParts {
  node: NodeName;
  pods: PodRegistry;
  core: Pick<ProtocolCore, 'views' | 'isCalm'>;
  waiting: WaitingPods;
  state: LeftStore;
  /** what was found on stable storage */
  records: ReadonlyMap<string, unknown>;
  nodes: NodeDirectory;
  store: Pick<ResourceStore, 'list'>;
  request: ExchangeDeps['request'];
  /** called once a second, while connections and code are kept warm */
  warm: () => void;
  metrics: AgentMetrics;
  log: Logger;
}

export interface Reports {
  residents: Residents;
  exchange: Exchange;
  /** To be called when the pods of this node are known. Returns what ends it. */
  start(): () => void;
  /** For people. From now on, for 10 s, with the load of replicas. */
  views(): ReportView[];
}

/** After a move its clients catch up for so long. */
const busyMs = 100;

export function makeReports(parts: ReportParts): Reports {
  const { node, pods, core, waiting, nodes, store, log } = parts;
  const left = new LeftAddresses(parts.state, parts.records, (error) =>
    log.error({ err: error }, 'addresses that workloads have left could not be written down'),
  );
  const ends = new EndWatch(() => residents.touchEnded());
  const residents = new Residents({
    pods,
    views: () => core.views(),
    isWaiting: ({ netns, workload }) => workload === undefined && waiting.waitsIn(netns),
    hasEnded,
    follow: (cgroups) => ends.follow(cgroups),
    left,
  });
  const sampler = new LoadSampler({
    pods: () => pods.all(),
    count: (netns, protocol) => native().countSockets(netns, protocol),
    onError: (pod, error) => log.warn({ err: error }, `the sockets of pod ${pod} can not be counted`),
  });
  const exchange = new Exchange({
    node,
    nodes: () => store.list('ServalNode').map(({ metadata }) => metadata.name),
    isDeclared: (name) => nodes.addressOf(name) !== undefined,
    hosts: (name, address) => nodes.hosts(name, address),
    nodeOf: (address) => nodes.nodeOf(address),
    request: parts.request,
    residents,
    sampler,
    count: countsOf(parts.metrics),
    onSilence: (name, reason) =>
      reason === undefined
        ? log.info({ to: name }, 'reports reach it again')
        : log.info({ to: name, reason }, 'reports do not reach it any more'),
    warm: parts.warm,
    isBusy: () => !core.isCalm(steadyNow(), busyMs),
  });
  return {
    residents,
    exchange,
    start: () => {
      residents.start();
      exchange.start();
      return () => {
        exchange.stop();
        residents.stop();
      };
    },
    views: () => {
      exchange.askAll();
      return exchange.known().map((name) => viewOf(exchange, name));
    },
  };
}

function countsOf({ reports, failedReports, refusedReports }: AgentMetrics): ReportCounts {
  return {
    sent: () => reports.inc(),
    failed: (reason) => failedReports.inc({ reason }),
    refused: (reason, entries) => refusedReports.inc({ reason }, entries),
  };
}

const nothing = { pods: [], moving: [], left: [], died: [], replicas: [] };

function viewOf(exchange: Exchange, node: NodeName): ReportView {
  const latest = exchange.latest(node);
  const silentMs = exchange.silentSince(node);
  return {
    node,
    ...(latest === undefined
      ? nothing
      : { heardMs: performance.now() - latest.receivedAt, ...latest.report }),
    ...(silentMs === undefined ? {} : { silentMs }),
  };
}
