import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FakeClock, settled } from '../clock.fixture.js';
import { LeaderElection, type LeaderOptions } from './lease.js';
import { FakeLeases } from './leases.fixture.js';

let clock: FakeClock;
let server: FakeLeases;
let told: string[];
let errors: unknown[];
let elections: LeaderElection[];

beforeEach(() => {
  [clock, server, told, errors, elections] = [new FakeClock(), new FakeLeases(), [], [], []];
});
afterEach(async () => {
  const stopped = Promise.all(elections.map((election) => election.stop()));
  await clock.advance(100_000);
  await stopped;
});

function candidate(identity: string, options: Partial<LeaderOptions> = {}): LeaderElection {
  const election = new LeaderElection({
    client: server.clientOf(identity),
    namespace: 'serval',
    name: 'operator',
    identity,
    onLeading: () => void told.push(`${identity} leads`),
    onLost: (reason) => told.push(`${identity} ${reason}`),
    onError: (error) => errors.push(error),
    clock,
    random: () => 1,
    ...options,
  });
  elections.push(election);
  return election;
}

async function started(...identities: string[]): Promise<LeaderElection[]> {
  const all: LeaderElection[] = [];
  for (const identity of identities) {
    const one = candidate(identity);
    one.start();
    await settled();
    all.push(one);
  }
  return all;
}

describe('a leader election', () => {
  it('makes the lease, renews it, and lets no other lead meanwhile', async () => {
    const [a, b] = await started('a', 'b');
    await clock.advance(60_000);
    expect(told).toEqual(['a leads']);
    expect([a?.isLeading, b?.isLeading, b?.holder]).toEqual([true, false, 'a']);
    expect(server.lease?.spec).toMatchObject({
      holderIdentity: 'a',
      leaseDurationSeconds: 15,
      leaseTransitions: 0,
      acquireTime: '2026-01-01T00:00:00.000000Z',
      renewTime: '2026-01-01T00:01:00.000000Z',
    });
    // One request each per 2 s.
    expect(server.log.filter((line) => line.startsWith('a'))).toHaveLength(32);
    expect(server.log.filter((line) => line.startsWith('b'))).toHaveLength(31);
    expect(errors).toEqual([]);
  });

  it('gives the lease up at its stop, and the next takes it with its next look', async () => {
    const [a] = await started('a', 'b');
    await clock.advance(5_000);
    await a?.stop();
    expect(server.lease?.spec?.holderIdentity).toBe('');
    expect(told).toEqual(['a leads', 'a stopped']);
    await clock.advance(2_000);
    expect(told).toEqual(['a leads', 'a stopped', 'b leads']);
    expect(server.lease?.spec?.leaseTransitions).toBe(1);
  });

  it('leads no more when it could not renew in time, before another may', async () => {
    let signal: AbortSignal | undefined;
    const a = candidate('a', { onLeading: (given) => void (signal = given) });
    a.start();
    await settled();
    await started('b');
    await clock.advance(1_000);
    server.break('a', 'refuse');
    await clock.advance(8_999);
    expect([a.isLeading, signal?.aborted, told]).toEqual([true, false, []]);
    await clock.advance(1);
    expect([a.isLeading, signal?.aborted, told]).toEqual([false, true, ['a late']]);
    await clock.advance(4_999);
    expect(told).toEqual(['a late']);
    await clock.advance(2_001);
    expect(told).toEqual(['a late', 'b leads']);
    expect(errors.length).toBeGreaterThan(3);
  });

  it('leads no more in time also when nothing is ever answered', async () => {
    await started('a', 'b');
    server.break('a', 'hang');
    await clock.advance(9_999);
    expect(told).toEqual(['a leads']);
    await clock.advance(1);
    expect(told).toEqual(['a leads', 'a late']);
    elections.shift();
  });

  it('does not say that it leads after the process stood still, before any timer has told it', async () => {
    const [a] = await started('a');
    clock.jump(10_000);
    expect([a?.isLeading, told]).toEqual([false, ['a leads']]);
    // Nobody has taken it: that its next renewal is accepted says so.
    await clock.advance(0);
    expect([a?.isLeading, told]).toEqual([true, ['a leads']]);
    server.write({ metadata: { name: 'operator' }, spec: { holderIdentity: 'b' } });
    clock.jump(10_000);
    expect(a?.isLeading).toBe(false);
    await clock.advance(0);
    expect([a?.isLeading, told]).toEqual([false, ['a leads', 'a taken']]);
  });

  it('does not begin to lead by an answer that came too late', async () => {
    const client = server.clientOf('a');
    const a = candidate('a', {
      client: {
        request: async <Answer>(request: Parameters<typeof client.request>[0]) => {
          const answer = await client.request<Answer>(request);
          if (request.method === 'POST') clock.jump(10_000);
          return answer;
        },
      },
    });
    a.start();
    await settled();
    expect([server.lease?.spec?.holderIdentity, a.isLeading, told]).toEqual(['a', false, []]);
    await clock.advance(2_000);
    expect(told).toEqual(['a leads']);
  });

  it('goes on when a renewal was done whose answer was lost', async () => {
    await started('a');
    server.break('a', 'lose');
    await clock.advance(5_000);
    server.mend('a');
    await clock.advance(60_000);
    expect(told).toEqual(['a leads']);
  });

  it('leads again at once where it still has the lease after it was cut off', async () => {
    await started('a');
    server.break('a', 'refuse');
    await clock.advance(12_000);
    server.mend('a');
    await clock.advance(15_000);
    expect(told).toEqual(['a leads', 'a late', 'a leads']);
    expect(server.lease?.spec?.leaseTransitions).toBe(0);
  });

  it('asks less often while the API server is gone, and goes on when it is back', async () => {
    server.break('a', 'refuse');
    await started('a');
    await clock.advance(300_000);
    expect(server.log.length).toBeGreaterThan(15);
    expect(server.log.length).toBeLessThan(30);
    server.mend('a');
    await clock.advance(15_000);
    expect(told).toEqual(['a leads']);
  });

  it('takes a lease over that an unknown holder has abandoned, when that has not changed for its duration', async () => {
    const spec = { holderIdentity: 'unknown', renewTime: '2999-01-01T00:00:00.000000Z', leaseTransitions: 7 };
    server.write({ metadata: { name: 'operator', namespace: 'serval', labels: { kept: 'yes' } }, spec });
    await started('a');
    await clock.advance(14_999);
    expect(told).toEqual([]);
    await clock.advance(1);
    expect(told).toEqual(['a leads']);
    expect(server.lease).toMatchObject({
      metadata: { labels: { kept: 'yes' } },
      spec: { leaseTransitions: 8 },
    });
  });

  it('ends at once when it sees that another has the lease', async () => {
    await started('a');
    server.write({ metadata: { name: 'operator' }, spec: { holderIdentity: 'b' } });
    await clock.advance(2_000);
    expect(told).toEqual(['a leads', 'a taken']);
    expect(server.lease?.spec?.holderIdentity).toBe('b');
  });

  it('goes on leading when somebody else changes the object, or deletes it', async () => {
    await started('a', 'b');
    const { metadata, spec } = server.lease ?? { metadata: { name: 'operator' } };
    server.write({ metadata: { ...metadata, labels: { by: 'hand' } }, ...(spec && { spec }) });
    await clock.advance(4_000);
    expect(server.lease?.metadata.labels).toEqual({ by: 'hand' });
    await clock.advance(500);
    server.write(undefined);
    await clock.advance(60_000);
    expect(told).toEqual(['a leads']);
    expect(server.lease?.spec?.holderIdentity).toBe('a');
  });

  it('lets its work end before it gives the lease up, and renews until then', async () => {
    let end: () => void = () => undefined;
    const work = new Promise<void>((resolve) => (end = resolve));
    const a = candidate('a', { onLeading: () => work });
    a.start();
    await started('b');
    let isStopped = false;
    const stopped = a.stop().then(() => (isStopped = true));
    await clock.advance(60_000);
    expect([isStopped, told, a.isLeading, server.lease?.spec?.holderIdentity]).toEqual([
      false,
      [],
      false,
      'a',
    ]);
    end();
    await stopped;
    expect([told, server.lease?.spec?.holderIdentity]).toEqual([['a stopped'], '']);
    await clock.advance(2_000);
    expect(told).toEqual(['a stopped', 'b leads']);
  });

  it('does not lead again while the work of the last time goes on', async () => {
    const ends: Array<() => void> = [];
    const onLeading = (): Promise<void> => new Promise((resolve) => ends.push(resolve));
    candidate('a', { onLeading }).start();
    await settled();
    server.break('a', 'refuse');
    await clock.advance(10_000);
    server.mend('a');
    await clock.advance(60_000);
    expect([told, ends.length]).toEqual([['a late'], 1]);
    ends[0]?.();
    await clock.advance(15_000);
    expect(ends).toHaveLength(2);
    ends[1]?.();
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('broken'))],
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
  ])('gives the lease up when the work %s, so that another has it first', async (_, onLeading) => {
    const b = candidate('b');
    const reasons: unknown[] = [];
    const a = candidate('a', { onLeading, onLost: (...given) => reasons.push(given) });
    a.start();
    await clock.advance(1_000);
    b.start();
    await clock.advance(10_000);
    expect(reasons).toEqual([['failed', new Error('broken')]]);
    expect(told).toEqual(['b leads']);
  });

  it('is told of a namespace that is not there', async () => {
    const request = (): Promise<never> => server.clientOf('x').request({ method: 'GET', path: '' });
    const { answerError } = await import('./errors.js');
    const post = (): Promise<never> => Promise.reject(answerError('POST', 404, ''));
    candidate('a', {
      client: { request: (asked) => (asked.method === 'POST' ? post() : request()) },
    }).start();
    await clock.advance(1_000);
    expect(errors[0]).toMatchObject({ code: 'ERR_NOT_FOUND' });
  });

  it.each([{ renewMs: 15_000 }, { retryMs: 10_000 }, { retryMs: 0 }, { identity: '' }])(
    'takes no options with which two could lead: %j',
    (options) => {
      expect(() => candidate('a', options)).toThrow(expect.objectContaining({ code: 'ERR_BAD_INPUT' }));
      elections = [];
    },
  );
});

const names = ['a', 'b', 'c'] as const;
const mishaps = fc.array(
  fc.record({
    who: fc.constantFrom(...names),
    what: fc.constantFrom('refuse', 'lose', 'mend', 'mend', 'delete', 'crash', 'stop'),
    thenMs: fc.nat(20_000),
  }),
  { maxLength: 30 },
);

describe('a leader election, whatever breaks', () => {
  let wasDeleted = false;

  it('never has two that lead, and one when all is well again', async () => {
    await fc.assert(
      fc.asyncProperty(
        mishaps,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        async (steps, chance) => {
          [clock, server, elections] = [new FakeClock(), new FakeLeases(), []];
          const random = (): number => (chance.next().value as number | undefined) ?? 0;
          wasDeleted = false;
          const leading = new Set<string>();
          let most = 0;
          const lives = new Map<string, number>();
          const running = new Map<string, LeaderElection>();
          const start = (who: string): void => {
            const life = (lives.get(who) ?? 0) + 1;
            lives.set(who, life);
            const identity = `${who}-${life}`;
            const one = candidate(identity, {
              client: crashable(who, life, lives),
              onLeading: () => {
                leading.add(identity);
                most = Math.max(most, leading.size);
              },
              onLost: () => leading.delete(identity),
              random,
            });
            running.set(who, one);
            one.start();
          };
          names.forEach(start);
          for (const { who, what, thenMs } of steps) {
            if (what === 'mend') server.mend(who);
            else if (what === 'delete') await deleted();
            else if (what === 'crash') {
              // It does nothing any more, and nobody is told: what it led is led no more.
              leading.delete(`${who}-${lives.get(who)}`);
              start(who);
            } else if (what === 'stop') {
              void running.get(who)?.stop();
              await clock.advance(20_000);
              start(who);
            } else server.break(who, what);
            await clock.advance(thenMs);
            expect(most).toBeLessThanOrEqual(1);
          }
          names.forEach((who) => server.mend(who));
          await clock.advance(60_000);
          expect([most, leading.size]).toEqual([1, 1]);
        },
      ),
      { numRuns: 100 },
    );
    elections = [];
  }, 120_000);

  /** Of a life that is over: nothing it asks comes to the server, nor is answered. */
  function crashable(who: string, life: number, lives: Map<string, number>): LeaderOptions['client'] {
    const client = server.clientOf(who);
    return {
      request: <Answer>(request: Parameters<typeof client.request>[0]): Promise<Answer> =>
        lives.get(who) === life ? client.request<Answer>(request) : new Promise(() => undefined),
    };
  }

  /**
   * Once, while none starts or has yet to look for the first time: such a one makes it anew at once, as does who was cut off
   * from before one deletion to after the next. Nothing can be done about that.
   */
  async function deleted(): Promise<void> {
    await clock.advance(1);
    if (wasDeleted || elections.some((each) => each.holder === '')) return;
    wasDeleted = true;
    server.write(undefined);
    await clock.advance(16_000);
  }
});
