/**
 * The operator, put together: copies of what it reads, an election, and what the leader does. Whoever does not lead has the
 * copies too, so that it can begin at once.
 */
import { apiVersion, type Kind } from '@serval/api';
import { startMetricsServer, type Logger, type Work } from '@serval/kube-runtime';
import { Events, KubernetesStore, LeaderElection, type KubeClient } from '@serval/kube-runtime/kubernetes';
import {
  startCertificates,
  type RunningCertificates,
  type ToldOfCertificate,
} from './certificates/runner.js';
import type { AuthorityTimes } from './certificates/authority-plan.js';
import type { AgentAccount } from './certificates/rules.js';
import { OperatorMetrics } from './metrics.js';
import { fieldManager, type Told } from './services/controller.js';
import { labelValue, serviceLabel } from './services/plan.js';
import { startServices, watchTimes, type Running } from './services/runner.js';

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
  private store: KubernetesStore | undefined;
  private leading: Running | undefined;
  private certificates: RunningCertificates | undefined;
  private closeServer: () => Promise<void> = () => Promise.resolve();

  constructor(private readonly options: OperatorOptions) {
    const { client, log, version, namespace, identity, times = defaultTimes } = options;
    this.metrics = new OperatorMetrics(version, {
      isLeading: () => this.isLeading(),
      depths: () => ({
        services: this.leading?.depth() ?? 0,
        certificates: this.certificates?.depth() ?? 0,
      }),
      authorityUntil: () => this.certificates?.authorityUntil(),
      silentMs: () => this.store?.silentFor() ?? 0,
      events: () => this.events.figures,
    });
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
    const { client, log, metrics } = this.options;
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
    this.store = await KubernetesStore.open({
      client,
      kinds: { ServalService: {}, EndpointSlice: { labelSelector: `${serviceLabel}=${labelValue}` } },
      fieldManager,
      times: watchTimes,
      onError: (kind, error) => this.watchBroke(kind, error),
      onHandlerError: (kind, error) => log.error({ err: error, kind }, 'a change could not be taken in'),
    });
    log.info('all is listed; it stands for election');
    this.election.start();
  }

  async stop(): Promise<void> {
    await this.election.stop();
    await this.events.close();
    await this.store?.close();
    await this.closeServer();
  }

  private async lead(signal: AbortSignal): Promise<void> {
    const { client, log } = this.options;
    if (this.store === undefined) return;
    log.info('leads');
    this.leading = startServices({
      client,
      store: this.store,
      tell: (told) => this.tell(told),
      onWatchError: (error) => this.watchBroke('Service', error),
      ...this.counted('services'),
    });
    this.certificates = this.startCertificates();
    await ended(signal);
    await Promise.all([this.leading.stop(), this.certificates?.stop()]);
    this.leading = undefined;
    this.certificates = undefined;
  }

  private startCertificates(): RunningCertificates | undefined {
    const { client, log, namespace, certificates } = this.options;
    if (certificates === undefined) return undefined;
    return startCertificates({
      client,
      namespace,
      ...certificates,
      tell: (told) => {
        log.info({ about: told.object.name, reason: told.reason }, told.message);
        this.record(told);
      },
      onWatchError: (error) => this.watchBroke('CertificateSigningRequest', error),
      onDecided: (decision) => this.metrics.certificates.inc({ decision }),
      ...this.counted('certificates'),
    });
  }

  /** What is told of a controller's work in the log and the metrics. */
  private counted(controller: string): {
    onError: (what: string, error: unknown) => void;
    onWorked: (work: Work) => void;
  } {
    return {
      onError: (what, error) => {
        this.metrics.errors.inc({ controller });
        this.options.log.warn({ err: error, what }, 'failed, and is tried again');
      },
      onWorked: ({ queuedMs, workedMs }) => {
        this.metrics.queued.observe({ controller }, queuedMs / 1_000);
        this.metrics.worked.observe({ controller }, workedMs / 1_000);
      },
    };
  }

  private tell({ object, type, reason, message }: Told): void {
    const { name, namespace, uid } = object.metadata;
    this.record({ object: { apiVersion, kind: object.kind, name, namespace, uid }, type, reason, message });
  }

  private record(told: ToldOfCertificate): void {
    this.events.record({ ...told, action: 'Reconcile' });
  }

  private watchBroke(kind: Kind | 'Service' | 'CertificateSigningRequest', error: unknown): void {
    this.metrics.watchErrors.inc({ kind });
    this.options.log.warn({ err: error, kind }, 'a watch broke; it is begun again');
  }

  private stuck(): string | undefined {
    const ms = Math.max(this.leading?.longestRunMs() ?? 0, this.certificates?.longestRunMs() ?? 0);
    return ms < stuckMs ? undefined : `an object has been worked on for ${Math.round(ms / 1_000)} s`;
  }
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
