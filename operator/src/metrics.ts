/** What the operator counts. Labels are names of controllers and kinds, from short fixed lists: never names of objects. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Read when somebody asks for the metrics. */
export interface MetricSources {
  isLeading: () => boolean;
  /** how many keys wait, by controller */
  depths: () => Readonly<Record<string, number>>;
  /** the longest that one of the watches has said nothing, ms */
  silentMs: () => number;
  /** when the authority that signs certificates ends, ms since 1970; undefined: none is known here */
  authorityUntil: () => number | undefined;
  /** how many migrations are open, by phase */
  migrations: () => Readonly<Record<string, number>>;
  /** Events that were written, left out, given up */
  events: () => { written: number; dropped: number; failed: number };
}

/** From a millisecond to ten seconds: one look at one object, with its writes. */
const workBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export class OperatorMetrics {
  readonly registry = new Registry();
  /** labels: controller; seconds */
  readonly worked = new Histogram({
    name: 'serval_operator_reconcile_seconds',
    help: 'How long it took to bring one object to what it should be',
    labelNames: ['controller'],
    buckets: workBuckets,
    registers: [this.registry],
  });
  /** labels: controller; seconds */
  readonly queued = new Histogram({
    name: 'serval_operator_queue_seconds',
    help: 'How long objects waited to be looked at',
    labelNames: ['controller'],
    buckets: workBuckets,
    registers: [this.registry],
  });
  /** labels: controller */
  readonly errors = new Counter({
    name: 'serval_operator_reconcile_errors_total',
    help: 'Looks at an object that failed, and are tried again',
    labelNames: ['controller'],
    registers: [this.registry],
  });
  /** labels: decision (approved, signed, denied, failed) */
  readonly certificates = new Counter({
    name: 'serval_operator_certificate_requests_total',
    help: 'Requests of agents for certificates, by what was decided',
    labelNames: ['decision'],
    registers: [this.registry],
  });
  /** labels: kind */
  readonly watchErrors = new Counter({
    name: 'serval_operator_watch_errors_total',
    help: 'Lists and watches that broke, and are begun again',
    labelNames: ['kind'],
    registers: [this.registry],
  });
  /** labels: result */
  readonly migrationsEnded = new Counter({
    name: 'serval_operator_migrations_ended_total',
    help: 'Migrations that have ended while this one led, by how: succeeded, failed, aborted',
    labelNames: ['result'],
    registers: [this.registry],
  });

  constructor(version: string, sources: MetricSources) {
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: 'serval_operator_info',
      help: 'Which operator this is',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1);
    this.read('leader', 'Whether this one leads', () => (sources.isLeading() ? 1 : 0));
    this.read(
      'watch_silent_seconds',
      'The longest that one of the watches has said nothing',
      () => sources.silentMs() / 1_000,
    );
    this.read(
      'authority_expiry_seconds',
      'Until the authority of certificates ends; NaN: not known here',
      () => secondsUntil(sources.authorityUntil()),
    );
    this.readEach('queue_depth', 'Objects that wait to be looked at', 'controller', sources.depths);
    this.readEach('migrations', 'Migrations that have not ended', 'phase', sources.migrations);
    this.readEach('events', 'Events about objects since the start', 'outcome', () => ({
      ...sources.events(),
    }));
  }

  private read(name: string, help: string, value: () => number): void {
    new Gauge({
      name: `serval_operator_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(value());
      },
    });
  }

  private readEach(
    name: string,
    help: string,
    label: string,
    values: () => Readonly<Record<string, number>>,
  ): void {
    new Gauge({
      name: `serval_operator_${name}`,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        for (const [key, value] of Object.entries(values())) this.set({ [label]: key }, value);
      },
    });
  }
}

function secondsUntil(ms: number | undefined): number {
  return ms === undefined ? NaN : (ms - Date.now()) / 1_000;
}
