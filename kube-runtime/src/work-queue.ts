/**
 * Keys to be worked on, as controllers of Kubernetes have it (client-go's workqueue, controller-runtime): a key is in the queue
 * once, never worked on by two at once, worked on again if it was added meanwhile, and tried again with a growing wait.
 */
import { ServalError } from '@serval/api';
import { systemClock, type Clock } from './clock.js';
import { Fifo } from './fifo.js';
import { Backoff } from './kubernetes/backoff.js';
import { TokenBucket } from './token-bucket.js';

export interface Outcome {
  /** worked on again so long after its end, ms, unless it is added before; absent: only when it is added */
  requeueAfterMs?: number | undefined;
}

export interface WorkQueueOptions {
  /** so many keys at once, at most */
  concurrency: number;
  /** @param signal the queue is stopped. A rejection is a failure: it is told, and the key tried again. */
  reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  onError: (key: string, error: unknown) => void;
  /** for metrics: once for each time that a key was worked on */
  onWorked?: (work: Work) => void;
  retries?: Partial<RetryOptions>;
  clock?: Clock;
  /** uniform over [0, 1); default Math.random */
  random?: () => number;
}

export interface Work {
  key: string;
  /** from when it was added, or was due, until it was begun, ms */
  queuedMs: number;
  workedMs: number;
  isFailed: boolean;
}

export interface RetryOptions {
  /** waits after failures of one key: the first at most, ms */
  firstMs: number;
  /** and any at most, ms */
  mostMs: number;
  /** retries of all keys together, in the long run and at once */
  perSecond: number;
  burst: number;
}

export const defaultRetries: RetryOptions = { firstMs: 5, mostMs: 300_000, perSecond: 10, burst: 100 };

/** Of a key that is queued, worked on, or waits; of no other is anything kept. */
interface Item {
  /** it has to be worked on since then; it is queued, or will be when it is not worked on any more */
  wantedAt: number | undefined;
  startedAt: number | undefined;
  wait: { until: number; cancel: () => void } | undefined;
  /** since its last success */
  failures: Backoff | undefined;
}

export class WorkQueue {
  private readonly items = new Map<string, Item>();
  private readonly queue = new Fifo<string>();
  private readonly retries: RetryOptions;
  private readonly bucket: TokenBucket;
  private readonly clock: Clock;
  private readonly end = new AbortController();
  private idlers: Array<() => void> = [];
  private working = 0;
  private isWoken = false;

  /** @throws ServalError ERR_BAD_INPUT where nothing could ever be worked on */
  constructor(private readonly options: WorkQueueOptions) {
    const { concurrency, retries, clock } = options;
    if (!(concurrency >= 1)) throw noWorkers(concurrency);
    this.retries = { ...defaultRetries, ...retries };
    this.clock = clock ?? systemClock;
    this.bucket = new TokenBucket(this.retries, this.clock.now());
  }

  /** Queued, and not worked on yet. */
  get depth(): number {
    return this.queue.length;
  }

  /** Worked on at the moment. */
  get running(): number {
    return this.working;
  }

  /** Keys of which anything is kept: queued, worked on, or waiting. */
  get size(): number {
    return this.items.size;
  }

  /** How long the one that is worked on longest has been, ms; 0 where none is. */
  longestRunMs(): number {
    const now = this.clock.now();
    let longest = 0;
    for (const { startedAt = now } of this.items.values()) longest = Math.max(longest, now - startedAt);
    return longest;
  }

  /** The key is worked on, from a moment after this call on. */
  add(key: string): void {
    if (this.end.signal.aborted) return;
    const item = this.itemOf(key);
    dropWait(item);
    if (item.wantedAt !== undefined) return;
    item.wantedAt = this.clock.now();
    if (item.startedAt === undefined) this.enqueue(key);
  }

  /**
   * The key is worked on in so many ms, or earlier: a key has one next time, the earliest that was asked for. Who is worked
   * on says in the outcome when next.
   */
  addAfter(key: string, ms: number): void {
    if (!(ms > 0)) return this.add(key);
    if (this.end.signal.aborted) return;
    const item = this.itemOf(key);
    const until = this.clock.now() + ms;
    if (item.wantedAt !== undefined || (item.wait !== undefined && item.wait.until <= until)) return;
    dropWait(item);
    item.wait = { until, cancel: this.clock.after(ms, () => this.add(key)) };
  }

  /** Resolves when nothing is queued, worked on, or waits. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.idlers.push(resolve);
      this.tellIdlers();
    });
  }

  /**
   * Begins nothing more, and resolves when what is worked on has ended; so it is not to be waited for from there. May be
   * repeated.
   */
  stop(): Promise<void> {
    this.end.abort();
    this.queue.clear();
    for (const [key, item] of this.items) {
      dropWait(item);
      if (item.startedAt === undefined) this.items.delete(key);
    }
    return this.idle();
  }

  private itemOf(key: string): Item {
    const known = this.items.get(key);
    if (known !== undefined) return known;
    const item = { wantedAt: undefined, startedAt: undefined, wait: undefined, failures: undefined };
    this.items.set(key, item);
    return item;
  }

  private enqueue(key: string): void {
    this.queue.push(key);
    this.wake();
  }

  /**
   * What is added many times in one turn is worked on once; and work that never waits for anything leaves timers and sockets
   * their turns.
   */
  private wake(): void {
    if (this.isWoken) return;
    this.isWoken = true;
    setImmediate(() => {
      this.isWoken = false;
      while (this.working < this.options.concurrency && this.queue.length > 0)
        void this.work(this.queue.shift() as string);
    });
  }

  private async work(key: string): Promise<void> {
    const item = this.itemOf(key);
    const startedAt = this.clock.now();
    const queuedMs = startedAt - (item.wantedAt ?? startedAt);
    Object.assign(item, { wantedAt: undefined, startedAt });
    this.working++;
    let next: number | undefined;
    let isFailed = false;
    try {
      next = (await this.options.reconcile(key, this.end.signal)).requeueAfterMs;
      item.failures = undefined;
    } catch (error) {
      isFailed = true;
      next = this.retryMs(item, error);
      this.options.onError(key, error);
    } finally {
      this.working--;
      item.startedAt = undefined;
      this.worked(key, item, next);
    }
    this.options.onWorked?.({ key, queuedMs, workedMs: this.clock.now() - startedAt, isFailed });
  }

  /** It goes to the end of the queue, waits, or is forgotten. */
  private worked(key: string, item: Item, next: number | undefined): void {
    if (item.wantedAt !== undefined && !this.end.signal.aborted) this.enqueue(key);
    else if (next !== undefined) this.addAfter(key, next);
    if (this.end.signal.aborted || (item.wantedAt === undefined && item.wait === undefined))
      this.items.delete(key);
    this.wake();
    this.tellIdlers();
  }

  private retryMs(item: Item, error: unknown): number {
    const { random } = this.options;
    item.failures ??= new Backoff({ ...this.retries, ...(random === undefined ? {} : { random }) });
    return Math.max(item.failures.next(), this.bucket.reserve(this.clock.now()), askedWait(error));
  }

  private tellIdlers(): void {
    if (this.items.size > 0) return;
    for (const tell of this.idlers.splice(0)) tell();
  }
}

function dropWait(item: Item): void {
  item.wait?.cancel();
  item.wait = undefined;
}

/** What a server that has too much to do asked for, ms. */
function askedWait(error: unknown): number {
  const seconds = error instanceof ServalError ? error.details['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds * 1_000 : 0;
}

function noWorkers(concurrency: number): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: 'concurrency of a work queue',
    reason: `with ${concurrency} nothing would ever be worked on`,
    remedy: 'Give a number of at least 1',
  });
}
