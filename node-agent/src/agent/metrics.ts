/**
 * What the agent counts. Labels are roles, phases, states and reasons, all from short fixed lists: never addresses or
 * names of workloads.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { DropCount, DropReason } from '../datapath/types.js';
import type { Role } from '../protocol/effects.js';
import type { ServerCounters } from '../signalling/index.js';

/** Read when somebody asks for the metrics. */
export interface MetricSources {
  /** flow ends that have a rule, by state */
  flows: () => Promise<Record<string, number>>;
  drops: () => Promise<Partial<Record<DropReason, DropCount>>>;
  /** migrations that have not ended, by this node's role */
  openMigrations: () => Record<Role, number>;
  /** files of resources that could not be used so far */
  resourceProblems: () => number;
}

/** Whom the server for other agents has turned away. */
export type TurnedAway = Pick<ServerCounters, 'refusedCertificates' | 'failedHandshakes' | 'errors'>;

export interface BuildInfo {
  version: string;
  node: string;
}

/** From a millisecond to a minute: phases of a migration. */
const phaseBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60];

export class AgentMetrics {
  readonly registry = new Registry();
  /** labels: role, result (succeeded, rolledBack, failed) */
  readonly migrations = this.counter('migrations_total', 'Migrations that ended', ['role', 'result']);
  /** labels: role, phase; seconds */
  readonly phases = new Histogram({
    name: 'serval_migration_phase_seconds',
    help: 'How long the phases of a migration took',
    labelNames: ['role', 'phase'],
    buckets: phaseBuckets,
    registers: [this.registry],
  });
  /** seconds */
  readonly freeze = new Histogram({
    name: 'serval_migration_freeze_seconds',
    help: 'How long a workload stood still, as its target saw it',
    buckets: phaseBuckets,
    registers: [this.registry],
  });
  /** labels: message (kind), outcome (replied, refused, unreached) */
  readonly requests = this.counter('signalling_requests_total', 'Requests to other agents, each attempt', [
    'message',
    'outcome',
  ]);
  /** labels: message (kind) */
  readonly retries = this.counter('signalling_retries_total', 'Requests that were asked again', ['message']);
  /** labels: message (kind), refusal: what this agent refused to others */
  readonly refusals = this.counter(
    'signalling_refusals_total',
    'Requests of other agents that were refused',
    ['message', 'refusal'],
  );
  /** labels: outcome (replied, refused, unreached) */
  readonly rsyn = this.counter('rsyn_total', 'RSYN sent, each attempt', ['outcome']);
  readonly rsynRetries = this.counter('rsyn_retries_total', 'RSYN that were sent again');
  readonly held = this.counter(
    'held_packets_total',
    'Packets that a hold kept and that were taken out of it',
  );
  readonly replayed = this.counter(
    'replayed_packets_total',
    'Kept packets that were sent at a switch or an unhold',
  );
  readonly replayRefused = this.counter(
    'replay_refused_packets_total',
    'Kept packets that the kernel did not take',
  );
  /** labels: what (failover, wait, closed), outcome: sockets of services that something was done about */
  readonly sockets = this.counter(
    'service_sockets_total',
    'Sockets that were given another replica, waited for one, or were closed since theirs is gone',
    ['what', 'outcome'],
  );
  /** labels: reason */
  readonly lostFlows = this.counter('lost_flows_total', 'Flows that did not survive a migration', ['reason']);

  readonly reports = this.counter('reports_sent_total', 'Reports to other agents, each attempt');
  /** labels: reason (an error code, or refused) */
  readonly failedReports = this.counter(
    'reports_failed_total',
    'Reports to other agents that came to nothing',
    ['reason'],
  );
  /** labels: reason (replica, moving, left, died, pod, moved; stranger for all that an undeclared node says) */
  readonly refusedReports = this.counter(
    'reports_refused_total',
    "Entries of other agents' reports about addresses that they do not host",
    ['reason'],
  );

  private server: { counters(): TurnedAway } | undefined;

  constructor(sources: MetricSources, build: BuildInfo) {
    collectDefaultMetrics({ register: this.registry });
    this.gauge('build_info', 'The agent that answers; always 1', ['version', 'node_version'], (gauge) =>
      gauge.set({ version: build.version, node_version: build.node }, 1),
    );
    this.gauge('flows', 'Flow ends that have a rule', ['state'], async (gauge) => {
      for (const [state, count] of Object.entries(await sources.flows())) gauge.set({ state }, count);
    });
    this.gauge('open_migrations', 'Migrations that have not ended', ['role'], (gauge) => {
      for (const [role, count] of Object.entries(sources.openMigrations())) gauge.set({ role }, count);
    });
    this.drops(sources);
    this.turnedAway();
    this.total('resource_problems_total', 'Resource files that could not be used', [], (counter) =>
      counter.inc(sources.resourceProblems()),
    );
  }

  private drops({ drops }: MetricSources): void {
    const total = (name: string, help: string, unit: keyof DropCount): void =>
      this.total(name, help, ['reason'], async (counter) => {
        for (const [reason, count] of Object.entries(await drops()))
          counter.inc({ reason }, Number(count[unit]));
      });
    total('drops_total', 'Packets that the data plane gave up', 'packets');
    total('drop_bytes_total', 'Bytes that the data plane gave up', 'bytes');
  }

  /** Other agents come in there from now on. */
  servesBy(server: { counters(): TurnedAway }): void {
    this.server = server;
  }

  /** @param expiresAt of this node's certificate, ms since 1970 */
  certifiedUntil(expiresAt: () => number): void {
    const help = "Until this node's certificate ends; less than nothing: it has ended";
    this.gauge('agent_certificate_expiry_seconds', help, [], (gauge) =>
      gauge.set((expiresAt() - Date.now()) / 1_000),
    );
  }

  /** Before the protocol has heard of it; what the protocol itself refuses is in `refusals`. */
  private turnedAway(): void {
    const counters = (): TurnedAway | undefined => this.server?.counters();
    this.total(
      'signalling_refused_certificates_total',
      'Connections of other agents that were refused for their certificate',
      ['fault'],
      (counter) => {
        for (const [fault, count] of Object.entries(counters()?.refusedCertificates ?? {}))
          counter.inc({ fault }, count);
      },
    );
    this.total(
      'signalling_failed_handshakes_total',
      'Connections that did not get as far as a certificate: not TLS 1.3, or no HTTP/2',
      [],
      (counter) => counter.inc(counters()?.failedHandshakes ?? 0),
    );
    this.total(
      'signalling_errors_total',
      'Requests of other agents that were answered with an error',
      ['code'],
      (counter) => {
        for (const [code, count] of Object.entries(counters()?.errors ?? {})) counter.inc({ code }, count);
      },
    );
  }

  private counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `serval_${name}`, help, labelNames, registers: [this.registry] });
  }

  /** A count that somebody else keeps: read whole each time. */
  private total(
    name: string,
    help: string,
    labelNames: string[],
    collect: (counter: Counter) => Promise<void> | void,
  ): void {
    new Counter({
      name: `serval_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      async collect() {
        this.reset();
        await collect(this);
      },
    });
  }

  private gauge(
    name: string,
    help: string,
    labelNames: string[],
    collect: (gauge: Gauge) => Promise<void> | void,
  ): void {
    new Gauge({
      name: `serval_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      async collect() {
        this.reset();
        await collect(this);
      },
    });
  }
}
