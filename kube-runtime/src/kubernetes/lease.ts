/**
 * Of several candidates one leads: who holds a Lease (coordination.k8s.io/v1). A leader ends by itself when it could not renew
 * in time, before another may take over; what each does is decided in lease-rules.ts.
 */
import { ServalError } from '@serval/api';
import { systemClock, type Clock } from '../clock.js';
import { Backoff } from './backoff.js';
import type { KubeClient } from './client.js';
import { statusOf } from './errors.js';
import {
  decide,
  freeSpec,
  heldSpec,
  holderOf,
  observe,
  type Lease,
  type LeaseSpec,
  type Observed,
} from './lease-rules.js';

export interface LeaderOptions {
  client: Pick<KubeClient, 'request'>;
  namespace: string;
  /** of the Lease, which is made where there is none */
  name: string;
  /** of this process alone, a pod's name and something random: two with the same would both lead */
  identity: string;
  /** others take over when they have seen no renewal for so long, ms, in whole seconds; default 15,000 */
  leaseMs?: number;
  /** who could not renew for so long leads no more, ms; default 10,000 */
  renewMs?: number;
  /** renewals and looks come so often, ms, a quarter less by chance; default 2,000 */
  retryMs?: number;
  /**
   * Leads from now on, until the signal says otherwise. Where it gives a promise, that is of the work: nobody leads here, and
   * the lease is not given up, before it has ended; when it rejects, the lease is given up.
   */
  onLeading: (signal: AbortSignal) => void | Promise<void>;
  /** Leads no more; once for each onLeading. @param error why it was late, or what the work failed with */
  onLost: (reason: LossReason, error?: unknown) => void;
  /** what went wrong; it is tried again */
  onError?: (error: unknown) => void;
  clock?: Clock;
  /** uniform over [0, 1); default Math.random */
  random?: () => number;
}

export type LossReason =
  /** not renewed in time */
  | 'late'
  /** somebody else has it */
  | 'taken'
  /** stop() */
  | 'stopped'
  /** the work rejected */
  | 'failed';

/** From onLeading to onLost. */
interface Term {
  end: AbortController;
  /** it has to be renewed by then, ms of the own clock */
  until: number;
  dropDeadline: () => void;
  work: Promise<void>;
  hasEnded: boolean;
}

const [missing, conflict] = [404, 409];

export class LeaderElection {
  private readonly self: { identity: string; leaseMs: number };
  private readonly renewMs: number;
  private readonly retryMs: number;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly backoff: Backoff;
  private observed: Observed | undefined;
  /** whether the last write came to something is not known */
  private isUnsure = false;
  private term: Term | undefined;
  /** of the term before: its work may go on for a while */
  private lastWork: Promise<void> = Promise.resolve();
  private lastError: unknown;
  private isResigning = false;
  private isStopping = false;
  private running: Promise<void> | undefined;
  private wake: () => void = () => undefined;

  /** @throws ServalError ERR_BAD_INPUT where two could lead with such times */
  constructor(private readonly options: LeaderOptions) {
    const { identity, leaseMs = 15_000, renewMs = 10_000, retryMs = 2_000 } = options;
    if (!(0 < retryMs && retryMs < renewMs && renewMs < leaseMs) || identity === '')
      throw badOptions(options);
    this.self = { identity, leaseMs };
    this.renewMs = renewMs;
    this.retryMs = retryMs;
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.backoff = new Backoff({ firstMs: retryMs, mostMs: leaseMs, random: this.random });
  }

  /** Is a candidate from now on, until stop(). */
  start(): void {
    this.running ??= this.run();
  }

  /** By the clock: false also when the whole process stood still and nobody has been told yet. */
  get isLeading(): boolean {
    return this.term !== undefined && !this.term.end.signal.aborted && this.clock.now() < this.term.until;
  }

  /** Who holds it, as far as is known here; empty: nobody. */
  get holder(): string {
    return holderOf(this.observed?.lease);
  }

  /**
   * Ends what leads, and gives the lease up when the work has ended, so that another takes it at once. Where the API server
   * does not answer, others take it when it has run out.
   */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.term?.end.abort();
    this.wake();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.isDone()) {
      const ms = await this.attempt().catch((error: unknown) => this.failed(error));
      if (!this.isDone() && !this.isResigning) await this.rest(ms);
    }
    if (this.term !== undefined) this.lose(this.term, 'stopped');
    await this.lastWork;
    await this.release().catch((error: unknown) => this.failed(error));
  }

  /** While the work goes on after a stop, the lease is renewed. */
  private isDone(): boolean {
    return this.isStopping && (this.term === undefined || this.term.hasEnded);
  }

  /** @returns after how many ms the next is due */
  private async attempt(): Promise<number> {
    await this.lastWork;
    if (this.isResigning) {
      this.isResigning = false;
      await this.release();
      // The others, who look more often, come first.
      return 2 * this.retryMs;
    }
    const ms = (await this.round()) ?? (await this.round()) ?? this.pause();
    this.backoff.reset();
    this.lastError = undefined;
    return ms;
  }

  /** @returns after how many ms the next is due; undefined: somebody else wrote, look at once */
  private async round(): Promise<number | undefined> {
    const { term } = this;
    const isKnown = term !== undefined && !this.isUnsure;
    const observed = (isKnown ? this.observed : undefined) ?? (await this.look());
    // Of before the request: others see the renewal after it for sure, and count from there.
    const now = this.clock.now();
    const decision = decide(observed, now, this.self, term !== undefined);
    if (decision.do === 'wait') {
      if (term !== undefined) this.lose(term, 'taken');
      return Math.min(this.pause(), decision.ms);
    }
    this.isUnsure = true;
    const isNew = decision.do === 'create';
    const spec = heldSpec(observed.lease, this.self, this.clock.date());
    if (!(await this.write(spec, isNew))) return undefined;
    this.held(now, term);
    return this.pause();
  }

  private held(sentAt: number, term: Term | undefined): void {
    const until = sentAt + this.renewMs;
    if (term === undefined) {
      if (!this.isStopping && this.clock.now() < until) this.lead(until);
    } else if (this.term === term) this.extend(term, until);
    // Else it was too late: the next look finds the own lease.
  }

  private lead(until: number): void {
    const term: Term = {
      end: new AbortController(),
      until,
      dropDeadline: () => undefined,
      work: Promise.resolve(),
      hasEnded: false,
    };
    this.term = term;
    this.extend(term, until);
    term.work = this.work(term);
  }

  private extend(term: Term, until: number): void {
    term.until = until;
    term.dropDeadline();
    const late = (): void => this.lose(term, 'late', this.lastError);
    term.dropDeadline = this.clock.after(until - this.clock.now(), late);
  }

  private async work(term: Term): Promise<void> {
    try {
      await this.options.onLeading(term.end.signal);
    } catch (error) {
      if (this.term === term) {
        this.isResigning = true;
        this.lose(term, 'failed', error);
      } else this.options.onError?.(error);
    }
    term.hasEnded = true;
    if (this.isStopping || this.isResigning) this.wake();
  }

  private lose(term: Term, reason: LossReason, error?: unknown): void {
    if (this.term !== term) return;
    this.term = undefined;
    this.lastWork = term.work;
    term.dropDeadline();
    term.end.abort();
    this.options.onLost(reason, error);
  }

  private async release(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const { lease, isGone } = this.observed ?? {};
      if (lease === undefined || isGone === true || holderOf(lease) !== this.self.identity) return;
      if (await this.write(freeSpec(lease, this.clock.date()), false)) return;
      await this.look();
    }
  }

  private async look(): Promise<Observed> {
    const found = await this.ask<Lease>('GET').catch((error: unknown) => {
      if (statusOf(error) === missing) return undefined;
      throw error;
    });
    this.observed = observe(this.observed, found, this.clock.now());
    this.isUnsure = false;
    return this.observed;
  }

  /** @returns whether it is written; not where somebody else has written since it was seen */
  private async write(spec: LeaseSpec, isNew: boolean): Promise<boolean> {
    const { name, namespace } = this.options;
    const metadata = isNew ? { name, namespace } : this.observed?.lease?.metadata;
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
    try {
      const written = await this.ask<Lease>(isNew ? 'POST' : 'PUT', body);
      this.observed = observe(this.observed, written, this.clock.now());
      this.isUnsure = false;
      return true;
    } catch (error) {
      const status = statusOf(error);
      if (status === conflict || (status === missing && !isNew)) return false;
      throw error;
    }
  }

  private ask<Answer>(method: 'GET' | 'POST' | 'PUT', body?: unknown): Promise<Answer> {
    const { client, namespace, name } = this.options;
    const leases = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
    return client.request<Answer>({
      method,
      path: method === 'POST' ? leases : `${leases}/${encodeURIComponent(name)}`,
      body,
      // One that is never answered leaves time for another.
      timeoutMs: Math.ceil(this.renewMs / 2),
    });
  }

  private failed(error: unknown): number {
    this.lastError = error;
    this.options.onError?.(error);
    return this.term === undefined ? this.backoff.next() : this.pause();
  }

  private pause(): number {
    return this.retryMs * (0.75 + 0.25 * this.random());
  }

  private rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.clock.after(ms, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function badOptions({ name, identity, leaseMs, renewMs, retryMs }: LeaderOptions): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: `lease ${name}`,
    reason: 'with these times, or without an identity, two could lead',
    remedy: 'Give an identity, and times with retryMs < renewMs < leaseMs',
    details: { identity, leaseMs, renewMs, retryMs },
  });
}
