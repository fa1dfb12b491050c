/**
 * The operator, put together: copies of what it reads, an election, and what the leader does. Whoever does not lead has the
 * copies too, so that it can begin at once.
 */
import { startMetricsServer, type Logger } from '@serval/kube-runtime';
import {
  Events,
  KubernetesStore,
  LeaderElection,
  type KubeClient,
  type Occurrence,
} from '@serval/kube-runtime/kubernetes';
import type { AuthorityTimes } from './certificates/authority-plan.js';
import type { AgentAccount } from './certificates/rules.js';
import { idle, Leader } from './leader.js';
import { OperatorMetrics } from './metrics.js';
import { openByPhase } from './migrations/figures.js';
import { Pods } from './pods/pods.js';
import { fieldManager } from './services/controller.js';
import { labelValue, serviceLabel } from './services/plan.js';
import { watchTimes } from './services/runner.js';
import type { Told } from './told.js';

export interface OperatorOptions {
  client: KubeClient;
  log: Logger;
  version: string;
  /** where its Lease is */
  namespace: string;
  /** of this process alone */
  identity: string;
  metrics: { address: string; port: number };
  /** signs certificates of agents; absent: somebody else does */
  certificates?: { account: AgentAccount; times: AuthorityTimes };
  /** of the election, ms: as LeaderOptions has them */
  times?: { leaseMs: number; renewMs: number; retryMs: number };
}

export interface Operator {
  /** of /metrics, /healthz and /readyz */
  port: number;
  isLeading(): boolean;
  /** Ends what it does, and gives the lease up. */
  stop(): Promise<void>;
}

/** A killed leader is followed by another within 12 s: the lease, and one more look. */
const defaultTimes = { leaseMs: 10_000, renewMs: 7_000, retryMs: 1_500 };
export const leaseName = 'serval-operator';
/** Work on one object that takes so long will not end any more. */
const stuckMs = 300_000;

/** Resolves when its copies are there, however long the API server takes. @throws ServalError where its port is taken */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const operator = new RunningOperator(options);
  await operator.start();
  return operator;
}

class RunningOperator implements Operator {
  port = 0;
  private readonly metrics: OperatorMetrics;
  private readonly events: Events;
  private readonly election: LeaderElection;
  private readonly pods: Pods;
  private store: KubernetesStore | undefined;
  private leading: Leader | undefined;
  private closeServer: () => Promise<void> = () => Promise.resolve();

  constructor(private readonly options: OperatorOptions) {
    const { client, log, version, namespace, identity, times = defaultTimes } = options;
    this.metrics = new OperatorMetrics(version, {
      isLeading: () => this.isLeading(),
      depths: () => this.leading?.depths() ?? idle,
      silentMs: () => Math.max(this.store?.silentFor() ?? 0, this.pods.silentFor()),
      authorityUntil: () => this.leading?.authorityUntil(),
      migrations: () => openByPhase(this.store?.list('ServalMigration') ?? []),
      events: () => this.events.figures,
    });
    this.pods = new Pods(client, (error) => this.watchBroke('Pod', error));
    this.events = new Events({
      client,
      reporter: { controller: 'serval.io/operator', instance: identity.slice(0, 128) },
      onError: (error, failures) => log.warn({ err: error, failures }, 'Events could not be written'),
    });
    this.election = new LeaderElection({
      client,
      namespace,
      name: leaseName,
      identity,
      ...times,
      onLeading: (signal) => this.lead(signal),
      onLost: (reason, error) => log.warn({ reason, err: error }, 'leads no more'),
      onError: (error) =>
        log.warn({ err: error }, 'the lease could not be read or written; it is tried again'),
    });
  }

  isLeading(): boolean {
    return this.election.isLeading;
  }

  async start(): Promise<void> {
    const { log, metrics } = this.options;
    const server = await startMetricsServer({
      ...metrics,
      registry: this.metrics.registry,
      health: { work: () => this.stuck() },
      ready: {
        copies: () =>
          this.store === undefined ? 'the API server has not told yet what there is' : undefined,
      },
    });
    this.port = server.port;
    this.closeServer = () => server.close();
    const [store] = await Promise.all([this.openStore(), this.pods.start()]);
    this.store = store;
    log.info('all is listed; it stands for election');
    this.election.start();
  }

  async stop(): Promise<void> {
    await this.election.stop();
    await this.events.close();
    await Promise.all([this.store?.close(), this.pods.stop()]);
    await this.closeServer();
  }

  private openStore(): Promise<KubernetesStore> {
    const { client, log } = this.options;
    return KubernetesStore.open({
      client,
      kinds: {
        ServalService: {},
        ServalMigration: {},
        ServalNode: {},
        EndpointSlice: { labelSelector: `${serviceLabel}=${labelValue}` },
      },
      fieldManager,
      times: watchTimes,
      onError: (kind, error) => this.watchBroke(kind, error),
      onHandlerError: (kind, error) => log.error({ err: error, kind }, 'a change could not be taken in'),
    });
  }

  private async lead(signal: AbortSignal): Promise<void> {
    const { client, log, namespace, certificates } = this.options;
    if (this.store === undefined) return;
    log.info('leads');
    this.leading = new Leader({
      ...{ client, log, metrics: this.metrics, store: this.store, pods: this.pods, namespace },
      tell: (told) => this.tell(told),
      record: (told) => this.record(told),
      ...(certificates === undefined ? {} : { certificates }),
      onWatchError: (kind, error) => this.watchBroke(kind, error),
    });
    await ended(signal);
    await this.leading.stop();
    this.leading = undefined;
  }

  private tell({ object, type, reason, message }: Told): void {
    const { name, namespace, uid } = object.metadata;
    const { apiVersion, kind } = object;
    this.record({ object: { apiVersion, kind, name, namespace, uid }, type, reason, message });
  }

  private record(told: Omit<Occurrence, 'action'>): void {
    this.events.record({ ...told, action: 'Reconcile' });
  }

  private watchBroke(kind: string, error: unknown): void {
    this.metrics.watchErrors.inc({ kind });
    this.options.log.warn({ err: error, kind }, 'a watch broke; it is begun again');
  }

  private stuck(): string | undefined {
    const ms = this.leading?.longestRunMs() ?? 0;
    return ms < stuckMs ? undefined : `an object has been worked on for ${Math.round(ms / 1_000)} s`;
  }
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
