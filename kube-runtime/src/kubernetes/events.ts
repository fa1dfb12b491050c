/**
 * Events about objects, for who looks with kubectl (events.k8s.io/v1). They are told on the side: nobody waits for them, nobody
 * fails because of them, and what is too much is left out and counted.
 */
import { systemClock, type Clock } from '../clock.js';
import { Recent } from '../recent.js';
import { TokenBucket } from '../token-bucket.js';
import { WorkQueue, type Outcome } from '../work-queue.js';
import type { KubeClient } from './client.js';
import { statusOf } from './errors.js';
import {
  cut,
  eventName,
  namespaceOf,
  newEvent,
  objectKey,
  seriesKey,
  seriesPart,
  type Occurrence,
  type Reporter,
} from './event-rules.js';

export interface EventsOptions {
  client: Pick<KubeClient, 'request'>;
  reporter: Reporter;
  /** what could not be told, at most once a minute. @param failures how many since it was said last */
  onError: (error: unknown, failures: number) => void;
  limits?: Partial<EventLimits>;
  clock?: Clock;
  /** uniform over [0, 1); default Math.random */
  random?: () => number;
}

export interface EventLimits {
  /** the same again within so long is one series, ms */
  seriesMs: number;
  /** about one object: so many at once, and in the long run one in so many ms; as client-go has it */
  burst: number;
  everyMs: number;
  /** so many series and objects are remembered, at most */
  remembered: number;
  /** so many wait to be written, at most */
  waiting: number;
  /** an Event is given up after so many tries */
  tries: number;
}

export const defaultLimits: EventLimits = {
  seriesMs: 600_000,
  burst: 25,
  everyMs: 300_000,
  remembered: 4_096,
  waiting: 1_000,
  tries: 6,
};

export interface EventCounts {
  /** Events and changes of series that were written */
  written: number;
  /** left out, since there was too much: about the object, or to be written at all */
  dropped: number;
  /** given up after it failed */
  failed: number;
}

interface Series {
  occurrence: Occurrence;
  name: string;
  isMade: boolean;
  first: Date;
  last: Date;
  count: number;
  tries: number;
}

const tellMs = 60_000;
const [missing, conflict, tooMany] = [404, 409, 429];

export class Events {
  private readonly limits: EventLimits;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly series: Recent<Series>;
  private readonly buckets: Recent<TokenBucket>;
  /** to be written, by the key of the series; what is being written is not in it */
  private readonly due = new Map<string, Series>();
  private readonly queue: WorkQueue;
  private readonly counts: EventCounts = { written: 0, dropped: 0, failed: 0 };
  private isClosed = false;
  private untold = 0;
  private toldAt = -Infinity;

  constructor(private readonly options: EventsOptions) {
    const { clock = systemClock, random = Math.random, limits } = options;
    this.limits = { ...defaultLimits, ...limits };
    this.clock = clock;
    this.random = random;
    const { remembered: most, seriesMs, burst, everyMs } = this.limits;
    this.series = new Recent({ most, keepMs: seriesMs });
    // One that is full again is as good as none.
    this.buckets = new Recent({ most, keepMs: burst * everyMs });
    this.queue = new WorkQueue({
      concurrency: 2,
      reconcile: (key, signal) => this.write(key, signal),
      // Said when it is given up.
      onError: () => undefined,
      retries: { firstMs: 1_000, mostMs: 30_000 },
      ...{ clock, random },
    });
  }

  /** What became of all that was recorded so far. */
  get figures(): Readonly<EventCounts> {
    return { ...this.counts };
  }

  /**
   * Tells it some time later, or not at all; never throws. What is said again of an object within ten minutes counts up its
   * Event; where too much is said of it, the count is written with the next that may be. Messages are cut at 1,024 bytes.
   */
  record(occurrence: Occurrence): void {
    try {
      this.note(occurrence);
    } catch (error) {
      this.giveUp(error);
    }
  }

  /** Resolves when all is written or given up, after so many ms at most. */
  async flush(withinMs = 5_000): Promise<void> {
    let drop: () => void = () => undefined;
    const limit = new Promise<void>((resolve) => (drop = this.clock.after(withinMs, resolve)));
    await Promise.race([this.queue.idle(), limit]);
    drop();
  }

  /** Writes what it still can, as flush() does, and nothing after that. */
  async close(withinMs?: number): Promise<void> {
    this.isClosed = true;
    await this.flush(withinMs);
    await this.queue.stop();
    this.counts.dropped += this.due.size;
    this.due.clear();
  }

  private note(occurrence: Occurrence): void {
    const now = this.clock.now();
    const key = seriesKey(occurrence);
    const known = this.series.get(key, now);
    if (known !== undefined) Object.assign(known, { count: known.count + 1, last: this.clock.date() });
    // What is about to be written says it too.
    if (this.due.has(key)) return;
    if (this.isClosed || this.due.size >= this.limits.waiting || !this.bucketOf(occurrence, now).take(now)) {
      this.counts.dropped++;
      return;
    }
    const series = known ?? this.begin(occurrence);
    series.tries = 0;
    this.series.set(key, series, now);
    this.due.set(key, series);
    this.queue.add(key);
  }

  private begin(occurrence: Occurrence): Series {
    const date = this.clock.date();
    const { object, message, ...rest } = occurrence;
    const id = [0, 0]
      .map(() =>
        Math.floor(this.random() * 2 ** 32)
          .toString(16)
          .padStart(8, '0'),
      )
      .join('');
    const copy = { ...rest, message: cut(message), object: { ...object } };
    return {
      occurrence: copy,
      name: eventName(object, id),
      isMade: false,
      first: date,
      last: date,
      count: 1,
      tries: 0,
    };
  }

  private bucketOf({ object }: Occurrence, now: number): TokenBucket {
    const key = objectKey(object);
    const { burst, everyMs } = this.limits;
    const bucket = this.buckets.get(key, now) ?? new TokenBucket({ perSecond: 1_000 / everyMs, burst }, now);
    this.buckets.set(key, bucket, now);
    return bucket;
  }

  private async write(key: string, signal: AbortSignal): Promise<Outcome> {
    const series = this.due.get(key);
    if (series === undefined) return {};
    this.due.delete(key);
    try {
      await this.send(series, signal);
      this.counts.written++;
    } catch (error) {
      if (isPassing(error) && ++series.tries < this.limits.tries) {
        this.due.set(key, series);
        throw error;
      }
      this.giveUp(error);
      if (!series.isMade) this.series.delete(key);
    }
    return {};
  }

  private async send(series: Series, signal: AbortSignal): Promise<void> {
    if (series.isMade)
      try {
        return await this.ask('PATCH', series, signal);
      } catch (error) {
        // The API server forgets Events after an hour.
        if (statusOf(error) !== missing) throw error;
        series.isMade = false;
      }
    try {
      await this.ask('POST', series, signal);
    } catch (error) {
      // It was made by an earlier try whose answer was lost.
      if (statusOf(error) !== conflict) throw error;
      await this.ask('PATCH', series, signal);
    }
    series.isMade = true;
  }

  private async ask(method: 'POST' | 'PATCH', series: Series, signal: AbortSignal): Promise<void> {
    const { occurrence, name } = series;
    const events = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespaceOf(occurrence.object))}/events`;
    const isNew = method === 'POST';
    // Nothing to add to what was made.
    if (!isNew && series.count === 1) return;
    await this.options.client.request({
      method,
      path: isNew ? events : `${events}/${encodeURIComponent(name)}`,
      body: isNew ? newEvent(occurrence, this.options.reporter, name, series) : seriesPart(series),
      ...(isNew ? {} : { contentType: 'application/merge-patch+json' }),
      signal,
    });
  }

  private giveUp(error: unknown): void {
    this.counts.failed++;
    this.untold++;
    const now = this.clock.now();
    if (now < this.toldAt + tellMs) return;
    const failures = this.untold;
    [this.toldAt, this.untold] = [now, 0];
    try {
      this.options.onError(error, failures);
    } catch {
      // Nobody who records has to do with that.
    }
  }
}

/** It may go well later: there was no answer, or the server says so of itself. */
function isPassing(error: unknown): boolean {
  const status = statusOf(error);
  return status === undefined || status === tooMany || status >= 500;
}
