import { describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import fc from 'fast-check';
import { FakeClock, settled } from './clock.fixture.js';
import { WorkQueue, type Outcome, type Work, type WorkQueueOptions } from './work-queue.js';

/** A queue whose work the test ends by hand. */
class Bench {
  readonly clock = new FakeClock();
  readonly started: string[] = [];
  readonly errors: unknown[] = [];
  readonly done: Work[] = [];
  readonly queue: WorkQueue;
  private readonly ends = new Map<string, (outcome: Outcome | Error) => void>();

  constructor(options: Partial<WorkQueueOptions> = {}) {
    this.queue = new WorkQueue({
      concurrency: 1,
      reconcile: (key) => {
        this.started.push(key);
        return new Promise((resolve, reject) => {
          this.ends.set(key, (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome)));
        });
      },
      onError: (_, error) => this.errors.push(error),
      onWorked: (work) => this.done.push(work),
      clock: this.clock,
      random: () => 1,
      ...options,
    });
  }

  async end(key: string, outcome: Outcome | Error = {}): Promise<void> {
    this.ends.get(key)?.(outcome);
    await settled();
  }

  /** Fails it so often, and gives the waits, to 10 ms. */
  async waits(key: string, failures: number, step = 1): Promise<number[]> {
    const waits: number[] = [];
    for (let i = 0; i < failures; i++) {
      await this.end(key, new Error(`failure ${i}`));
      const [count, from] = [this.started.length, this.clock.now()];
      while (this.started.length === count) await this.clock.advance(step);
      waits.push(this.clock.now() - from);
    }
    return waits;
  }
}

describe('a work queue', () => {
  it('works on what is added many times once, in the order of the first', async () => {
    const { queue, started, end } = bound(new Bench());
    for (const key of ['b', 'a', 'b', 'c', 'a', 'b']) queue.add(key);
    expect(queue.depth).toBe(3);
    await settled();
    for (const key of ['b', 'a', 'c']) await end(key);
    expect(started).toEqual(['b', 'a', 'c']);
  });

  it('works on a key again that is added meanwhile, once, and behind those that came before', async () => {
    const { queue, started, end } = bound(new Bench());
    queue.add('a');
    await settled();
    queue.add('b');
    queue.add('a');
    queue.add('a');
    expect([queue.depth, queue.running, queue.size]).toEqual([1, 1, 2]);
    for (const key of ['a', 'b', 'a']) await end(key);
    expect(started).toEqual(['a', 'b', 'a']);
    expect([queue.depth, queue.running, queue.size]).toEqual([0, 0, 0]);
  });

  it('works on as many at once as it may, and never on one key twice', async () => {
    const { queue, started, end } = bound(new Bench({ concurrency: 2 }));
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await settled();
    queue.add('a');
    await settled();
    expect(started).toEqual(['a', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('c');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('a');
    expect(started).toEqual(['a', 'b', 'c', 'a']);
  });

  it('waits twice as long after each failure, up to the most, and anew after a success', async () => {
    const bench = new Bench({ retries: { firstMs: 10, mostMs: 100 } });
    bench.queue.add('a');
    await settled();
    expect(await bench.waits('a', 6)).toEqual([10, 20, 40, 80, 100, 100]);
    expect(bench.errors).toHaveLength(6);
    await bench.end('a');
    expect([bench.queue.size, bench.clock.pending]).toEqual([0, 0]);
    bench.queue.add('a');
    await settled();
    expect(await bench.waits('a', 3)).toEqual([10, 20, 40]);
    // What is still known of it, since it comes again by itself, is no failure.
    await bench.end('a', { requeueAfterMs: 5 });
    await bench.clock.advance(5);
    expect(await bench.waits('a', 1)).toEqual([10]);
  });

  it('begins a key that waits when it is added, and still counts its failures', async () => {
    const bench = new Bench({ retries: { firstMs: 1_000 } });
    bench.queue.add('a');
    await settled();
    await bench.end('a', new Error('x'));
    bench.queue.add('a');
    await settled();
    expect(bench.started).toHaveLength(2);
    expect(await bench.waits('a', 1, 100)).toEqual([2_000]);
  });

  it('limits the retries of all keys together', async () => {
    const retries = { firstMs: 1, perSecond: 10, burst: 3 };
    const bench = new Bench({ concurrency: 100, retries });
    for (let i = 0; i < 6; i++) bench.queue.add(`${i}`);
    await settled();
    for (let i = 0; i < 6; i++) await bench.end(`${i}`, new Error('x'));
    await bench.clock.advance(50);
    expect(bench.started).toHaveLength(6 + 3);
    await bench.clock.advance(200);
    expect(bench.started).toHaveLength(6 + 5);
    await bench.clock.advance(50);
    expect(bench.started).toHaveLength(6 + 6);
    // Who did not fail is not limited.
    for (let i = 0; i < 20; i++) bench.queue.add(`new ${i}`);
    await settled();
    expect(bench.started).toHaveLength(6 + 6 + 20);
  });

  it('waits as long as a server asked for that has too much to do', async () => {
    const bench = new Bench();
    bench.queue.add('a');
    await settled();
    const text = { subject: 'x', reason: 'x', remedy: 'x' };
    await bench.end('a', new ServalError('ERR_LIMIT', { ...text, details: { retryAfterSeconds: 2 } }));
    await bench.clock.advance(1_999);
    expect(bench.started).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(2);
  });

  it('takes a throw for a failure', async () => {
    const bench = new Bench({
      reconcile: () => {
        throw new Error('at once');
      },
    });
    bench.queue.add('a');
    await settled();
    expect(bench.errors).toEqual([new Error('at once')]);
    expect([bench.queue.running, bench.queue.size]).toEqual([0, 1]);
  });

  it('works again after what the outcome says', async () => {
    const { queue, started, end, clock } = bound(new Bench());
    queue.add('a');
    await settled();
    await end('a', { requeueAfterMs: 1_000 });
    await clock.advance(999);
    expect(started).toHaveLength(1);
    await clock.advance(1);
    expect(started).toHaveLength(2);
    await end('a', { requeueAfterMs: 0 });
    expect(started).toHaveLength(3);
    await end('a');
    expect(queue.size).toBe(0);
  });

  it.each([
    { name: 'the earlier first', waits: [100, 500], at: 100 },
    { name: 'the earlier last', waits: [500, 100], at: 100 },
    { name: 'at once, since it was added', waits: [500, 0], at: 0 },
    { name: 'what is no wait', waits: [500, -1], at: 0 },
  ])('has one next time for a key: $name', async ({ waits, at }) => {
    const { queue, started, end, clock } = bound(new Bench());
    for (const ms of waits) queue.addAfter('a', ms);
    await clock.advance(at - 1);
    expect(started).toHaveLength(at === 0 ? 1 : 0);
    await clock.advance(1);
    expect(started).toHaveLength(1);
    await end('a');
    await clock.advance(1_000);
    expect(started).toHaveLength(1);
    expect([queue.size, clock.pending]).toEqual([0, 0]);
  });

  it('keeps a time that was asked for while the key was worked on, also where the outcome names a later one', async () => {
    const { queue, started, end, clock } = bound(new Bench());
    queue.add('a');
    await settled();
    queue.addAfter('a', 100);
    await end('a', { requeueAfterMs: 500 });
    await clock.advance(100);
    expect(started).toHaveLength(2);
    queue.addAfter('a', 100);
    await clock.advance(100);
    expect(started).toHaveLength(2);
    await end('a');
    expect(started).toHaveLength(3);
  });

  it('tells how long a key was queued and worked on', async () => {
    const { queue, done, end, clock } = bound(new Bench());
    queue.add('a');
    queue.add('b');
    await clock.advance(70);
    expect(queue.longestRunMs()).toBe(70);
    await end('a');
    await clock.advance(5);
    await end('b', new Error('x'));
    expect(done).toEqual([
      { key: 'a', queuedMs: 0, workedMs: 70, isFailed: false },
      { key: 'b', queuedMs: 70, workedMs: 5, isFailed: true },
    ]);
    expect(queue.longestRunMs()).toBe(0);
  });

  it('begins nothing after its stop, which ends when what is worked on has, and tells that', async () => {
    let signal: AbortSignal | undefined;
    let finish: (outcome: Outcome) => void = () => undefined;
    const started: string[] = [];
    const clock = new FakeClock();
    const queue = new WorkQueue({
      concurrency: 1,
      reconcile: (key, given) => {
        signal = given;
        started.push(key);
        return new Promise((resolve) => (finish = resolve));
      },
      onError: () => undefined,
      clock,
    });
    for (const key of ['a', 'b']) queue.add(key);
    queue.addAfter('c', 10);
    await settled();
    queue.add('a');
    let isStopped = false;
    const stopped = queue.stop().then(() => (isStopped = true));
    queue.add('d');
    queue.addAfter('e', 10);
    await clock.advance(1_000);
    expect([isStopped, signal?.aborted, queue.size]).toEqual([false, true, 1]);
    finish({ requeueAfterMs: 1 });
    await stopped;
    await clock.advance(1_000);
    expect(started).toEqual(['a']);
    expect([queue.size, queue.depth, clock.pending]).toEqual([0, 0, 0]);
    await queue.stop();
  });

  it('is idle when nothing waits either', async () => {
    const { queue, end, clock } = bound(new Bench());
    await queue.idle();
    queue.add('a');
    await settled();
    let isIdle = false;
    const idle = queue.idle().then(() => (isIdle = true));
    await end('a', { requeueAfterMs: 10 });
    expect(isIdle).toBe(false);
    await clock.advance(10);
    await end('a');
    await idle;
  });

  it('takes no number of workers that would do nothing', () => {
    expect(() => new Bench({ concurrency: 0 })).toThrow(/ever be worked on/);
  });

  it('takes 100,000 keys in their order, in little time', async () => {
    const worked: string[] = [];
    const reconcile = (key: string): Promise<Outcome> => {
      worked.push(key);
      return Promise.resolve({});
    };
    const queue = new WorkQueue({ concurrency: 4, reconcile, onError: () => undefined });
    const keys = Array.from({ length: 100_000 }, (_, i) => `default/${i}`);
    const began = performance.now();
    for (const key of keys) queue.add(key);
    await queue.idle();
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(worked).toEqual(keys);
  });
});

/** Each key fails so often in a row at most, or it would never be idle. */
const mostFailures = 3;
const decided = new Error('it was decided to fail');
const key = fc.constantFrom('a', 'b', 'c', 'd');
const commands = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('add' as const), key }),
    fc.record({ do: fc.constant('after' as const), key, ms: fc.integer({ min: -1, max: 60 }) }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.nat(40) }),
  ),
  { maxLength: 60 },
);
/** What becomes of the runs, one after the other. */
const fates = fc.array(
  fc.record({
    ms: fc.nat(30),
    isFailed: fc.boolean(),
    requeueAfterMs: fc.option(fc.nat(30), { nil: undefined, freq: 4 }),
  }),
  { maxLength: 60 },
);

/** Checks while it runs what can be, and keeps what has to come. */
class Watched {
  readonly clock = new FakeClock();
  readonly queue: WorkQueue;
  readonly running = new Set<string>();
  private readonly failures = new Map<string, number>();
  /** keys that were added and not begun since */
  readonly owed = new Map<string, { dueAt: number }>();
  readonly broken: unknown[] = [];

  constructor(
    private readonly fates: Array<{ ms: number; isFailed: boolean; requeueAfterMs: number | undefined }>,
    private readonly concurrency: number,
  ) {
    this.queue = new WorkQueue({
      concurrency,
      reconcile: (name) => this.reconcile(name),
      onError: (_, error) => {
        if (error !== decided) this.broken.push(error);
      },
      clock: this.clock,
    });
  }

  add(name: string, ms: number): void {
    const dueAt = Math.min(this.clock.now() + Math.max(0, ms), this.owed.get(name)?.dueAt ?? Infinity);
    this.owed.set(name, { dueAt });
    if (ms === 0) this.queue.add(name);
    else this.queue.addAfter(name, ms);
  }

  private async reconcile(name: string): Promise<Outcome> {
    if (this.running.has(name)) throw new Error(`two work on ${name}`);
    this.running.add(name);
    expect(this.running.size).toBeLessThanOrEqual(this.concurrency);
    this.owed.delete(name);
    const fate = this.fates.shift() ?? { ms: 1, isFailed: false, requeueAfterMs: undefined };
    await new Promise<void>((resolve) => void this.clock.after(fate.ms, resolve));
    this.running.delete(name);
    const before = this.failures.get(name) ?? 0;
    const isFailed = fate.isFailed && before < mostFailures;
    this.failures.set(name, isFailed ? before + 1 : 0);
    if (isFailed) throw decided;
    return { requeueAfterMs: fate.requeueAfterMs };
  }
}

describe('a work queue, whatever comes', () => {
  it('never has two at one key, loses no add, is not late while somebody is free, and forgets what is done', async () => {
    await fc.assert(
      fc.asyncProperty(commands, fates, fc.integer({ min: 1, max: 5 }), async (steps, ends, concurrency) => {
        const watched = new Watched([...ends], concurrency);
        const { queue, clock, owed, broken } = watched;
        for (const step of steps) {
          if (step.do === 'pass') await clock.advance(step.ms);
          else watched.add(step.key, step.do === 'add' ? 0 : step.ms);
          await settled();
          // What is due and not begun has a reason: it is worked on, or all workers are.
          for (const [name, { dueAt }] of owed)
            if (dueAt <= clock.now() && queue.running < concurrency) expect(watched.running).toContain(name);
        }
        for (let i = 0; queue.size > 0 && i < 1_000; i++) await clock.advance(50);
        expect([...owed.keys()]).toEqual([]);
        expect([queue.size, queue.depth, queue.running, clock.pending]).toEqual([0, 0, 0, 0]);
        expect(broken).toEqual([]);
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});

/** Its methods, to be called without it. */
function bound(bench: Bench) {
  const { queue, started, done, clock } = bench;
  return { queue, started, done, clock, end: bench.end.bind(bench) };
}
