/** What the one that leads does: a controller for each kind of object. */
import type { Logger } from '@serval/kube-runtime';
import type { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import type { AuthorityTimes } from './certificates/authority-plan.js';
import type { AgentAccount } from './certificates/rules.js';
import {
  startCertificates,
  type RunningCertificates,
  type ToldOfCertificate,
} from './certificates/runner.js';
import type { OperatorMetrics } from './metrics.js';
import { startMigrations } from './migrations/runner.js';
import { startNodes } from './nodes/runner.js';
import type { Pods } from './pods/pods.js';
import type { Callbacks, Running } from './running.js';
import { startServices } from './services/runner.js';
import type { Told } from './told.js';

export interface LeaderDeps {
  client: KubeClient;
  log: Logger;
  metrics: OperatorMetrics;
  store: KubernetesStore;
  pods: Pods;
  /** of the operator, the agents' pods, and the authority of their certificates */
  namespace: string;
  tell: (told: Told) => void;
  /** the same of what is no resource of ours */
  record: (told: ToldOfCertificate) => void;
  onWatchError: (kind: string, error: unknown) => void;
  /** signs certificates of agents; absent: somebody else does */
  certificates?: { account: AgentAccount; times: AuthorityTimes };
}

export class Leader {
  private readonly controllers: Readonly<Record<string, Omit<Running, 'idle'>>>;
  private readonly certificates: RunningCertificates | undefined;

  constructor(private readonly deps: LeaderDeps) {
    const { client, store, pods, namespace, tell, metrics, onWatchError } = deps;
    this.certificates = this.startCertificates();
    const onEnded = (phase: string): void => metrics.migrationsEnded.inc({ result: phase.toLowerCase() });
    this.controllers = {
      services: startServices({
        ...{ client, store, tell },
        ...this.callbacks('services'),
        onWatchError: (error) => onWatchError('Service', error),
      }),
      migrations: startMigrations({ client, store, pods, tell, onEnded, ...this.callbacks('migrations') }),
      nodes: startNodes({ client, store, pods, namespace, tell, ...this.callbacks('nodes') }),
      ...(this.certificates === undefined ? {} : { certificates: this.certificates }),
    };
  }

  /** How many objects wait to be looked at, by controller. */
  depths(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.controllers).map(([name, running]) => [name, running.depth()]),
    );
  }

  longestRunMs(): number {
    return Math.max(...Object.values(this.controllers).map((running) => running.longestRunMs()));
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.controllers).map((running) => running.stop()));
  }

  /** When the authority that signs ends, ms since 1970; undefined: none signs here, or it is not known yet. */
  authorityUntil(): number | undefined {
    return this.certificates?.authorityUntil();
  }

  private startCertificates(): RunningCertificates | undefined {
    const { client, log, namespace, certificates, metrics, record, onWatchError } = this.deps;
    if (certificates === undefined) return undefined;
    return startCertificates({
      client,
      namespace,
      ...certificates,
      tell: (told) => {
        log.info({ about: told.object.name, reason: told.reason }, told.message);
        record(told);
      },
      onWatchError: (error) => onWatchError('CertificateSigningRequest', error),
      onDecided: (decision) => metrics.certificates.inc({ decision }),
      ...this.callbacks('certificates'),
    });
  }

  private callbacks(controller: string): Callbacks {
    const { metrics, log } = this.deps;
    return {
      onError: (what, error) => {
        metrics.errors.inc({ controller });
        log.warn({ err: error, what }, 'failed, and is tried again');
      },
      onWorked: ({ queuedMs, workedMs }) => {
        metrics.queued.observe({ controller }, queuedMs / 1_000);
        metrics.worked.observe({ controller }, workedMs / 1_000);
      },
    };
  }
}

/** Names of the controllers, before there are any. */
export const idle: Readonly<Record<string, number>> = {
  services: 0,
  migrations: 0,
  nodes: 0,
  certificates: 0,
};
