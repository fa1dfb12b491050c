import { beforeEach, describe, expect, it } from '@jest/globals';
import { FakeClock, settled } from '../clock.fixture.js';
import type { KubeRequest } from './client.js';
import { answerError, connectionError } from './errors.js';
import { Events, type EventsOptions } from './events.js';
import type { Occurrence } from './event-rules.js';

interface Written {
  metadata: { name: string };
  series?: { count: number; lastObservedTime: string };
  note: string;
}

let clock: FakeClock;
let asked: KubeRequest[];
let stored: Map<string, Written>;
let told: Array<{ error: unknown; failures: number }>;
/** what the server answers instead of doing it; `lost`: it is done */
let trouble: { error: Error; lost?: boolean } | undefined;
/** answers come only when this does */
let gate: Promise<void> | undefined;

beforeEach(() => {
  [clock, asked, told] = [new FakeClock(), [], []];
  stored = new Map();
  trouble = gate = undefined;
});

const gone = connectionError('POST', new Error('refused'));

function events(options: Partial<EventsOptions> = {}): Events {
  return new Events({
    client: { request },
    reporter: { controller: 'serval.io/operator', instance: 'pod-1' },
    onError: (error, failures) => told.push({ error, failures }),
    clock,
    ...options,
  });
}

async function request<Answer>(given: KubeRequest): Promise<Answer> {
  asked.push(given);
  await gate;
  if (trouble !== undefined && trouble.lost !== true) throw trouble.error;
  const { method, path, body } = given;
  const event = structuredClone(body) as Written;
  if (method === 'POST') {
    if (stored.has(event.metadata.name)) throw answerError('POST', 409, '');
    stored.set(event.metadata.name, event);
  } else {
    const name = path.split('/').at(-1) ?? '';
    if (!stored.has(name)) throw answerError('PATCH', 404, '');
    stored.set(name, { ...(stored.get(name) as Written), ...event });
  }
  if (trouble !== undefined) throw trouble.error;
  return {} as Answer;
}

const about = (name: string, message = 'it is there'): Occurrence => ({
  object: {
    apiVersion: 'serval.io/v1alpha1',
    kind: 'ServalMigration',
    name,
    namespace: 'shop',
    uid: `uid of ${name}`,
  },
  type: 'Normal',
  reason: 'Moved',
  message,
  action: 'Move',
});

const counts = (): Array<number | undefined> => [...stored.values()].map(({ series }) => series?.count);
const methods = (): Array<string | undefined> => asked.map(({ method }) => method);

describe('events', () => {
  it('are made once, and counted up by patches when they come again within ten minutes', async () => {
    const all = events();
    for (let i = 0; i < 3; i++) {
      all.record(about('m'));
      await clock.advance(599_999);
    }
    expect([methods(), counts()]).toEqual([['POST', 'PATCH', 'PATCH'], [3]]);
    expect(asked[2]).toMatchObject({
      path: `/apis/events.k8s.io/v1/namespaces/shop/events/${[...stored.keys()][0]}`,
      contentType: 'application/merge-patch+json',
      body: { series: { count: 3, lastObservedTime: '2026-01-01T00:19:59.998000Z' } },
    });
    await clock.advance(1);
    all.record(about('m'));
    await settled();
    expect(counts()).toEqual([3, undefined]);
    expect(all.figures).toEqual({ written: 4, dropped: 0, failed: 0 });
  });

  it('are written once when the same comes many times before that', async () => {
    const all = events();
    for (let i = 0; i < 50; i++) all.record(about('m'));
    await all.flush();
    expect([methods(), counts()]).toEqual([['POST'], [50]]);
    expect(all.figures).toEqual({ written: 1, dropped: 0, failed: 0 });
  });

  it('count what comes while they are being written', async () => {
    let open: () => void = () => undefined;
    gate = new Promise((resolve) => (open = resolve));
    const all = events();
    all.record(about('m'));
    await settled();
    for (let i = 0; i < 5; i++) all.record(about('m'));
    open();
    await all.flush();
    expect([methods(), counts()]).toEqual([['POST', 'PATCH'], [6]]);
  });

  it('are 25 about one object at once, then one each five minutes; other objects have their own', async () => {
    const all = events();
    for (let i = 0; i < 40; i++) all.record(about('m', `message ${i}`));
    await all.flush();
    expect(stored.size).toBe(25);
    expect(all.figures).toEqual({ written: 25, dropped: 15, failed: 0 });
    all.record(about('other'));
    await clock.advance(300_000);
    for (let i = 0; i < 3; i++) all.record(about('m', `later ${i}`));
    await all.flush();
    expect(stored.size).toBe(27);
  });

  it('say a count that was too much with the next that may be written', async () => {
    const all = events();
    for (let i = 0; i < 30; i++) {
      all.record(about('m'));
      await settled();
    }
    expect([asked.length, counts()]).toEqual([25, [25]]);
    await clock.advance(300_000);
    all.record(about('m'));
    await settled();
    expect([asked.length, counts()]).toEqual([26, [31]]);
  });

  it('are made again when the server has forgotten them', async () => {
    const all = events();
    all.record(about('m'));
    await settled();
    stored.clear();
    all.record(about('m'));
    await settled();
    expect([methods(), counts()]).toEqual([['POST', 'PATCH', 'POST'], [2]]);
  });

  it('are tried again with a growing wait, and are there once although an answer was lost', async () => {
    const all = events();
    trouble = { error: gone, lost: true };
    all.record(about('m'));
    await settled();
    expect(asked).toHaveLength(1);
    all.record(about('m'));
    trouble = undefined;
    await clock.advance(1_000);
    expect([methods(), counts()]).toEqual([['POST', 'POST', 'PATCH'], [2]]);
    expect([told, all.figures]).toEqual([[], { written: 1, dropped: 0, failed: 0 }]);
  });

  it('are given up after some tries; the next of the same is a new one', async () => {
    const all = events();
    trouble = { error: gone };
    all.record(about('m'));
    await clock.advance(120_000);
    expect(asked).toHaveLength(6);
    expect([told, all.figures.failed]).toEqual([[{ error: gone, failures: 1 }], 1]);
    trouble = undefined;
    all.record(about('m'));
    await settled();
    expect(counts()).toEqual([undefined]);
  });

  it.each([403, 404, 422])(
    'are given up at once where the server does not take them (%i)',
    async (status) => {
      const all = events();
      trouble = { error: answerError('POST', status, '') };
      all.record(about('m'));
      await clock.advance(120_000);
      expect([asked.length, all.figures.failed, told.length]).toEqual([1, 1, 1]);
    },
  );

  it('tell of failures once a minute, and how many there were', async () => {
    const all = events();
    trouble = { error: answerError('POST', 403, '') };
    for (let i = 0; i < 5; i++) all.record(about(`m${i}`));
    await clock.advance(60_000);
    all.record(about('last'));
    await all.flush();
    expect(told.map(({ failures }) => failures)).toEqual([1, 5]);
  });

  it('never throw into who records', async () => {
    const all = events({
      onError: (error) => {
        told.push({ error, failures: 0 });
        throw new Error('in the handler');
      },
    });
    expect(() => all.record(undefined as unknown as Occurrence)).not.toThrow();
    expect(told).toHaveLength(1);
    trouble = { error: answerError('POST', 403, '') };
    await clock.advance(60_000);
    all.record(about('m'));
    await settled();
    expect([told.length, all.figures.failed]).toEqual([2, 2]);
  });

  it('keep no more than they may, however much comes', async () => {
    const all = events({ limits: { remembered: 100, waiting: 200 } });
    for (let i = 0; i < 1_000; i++) all.record(about(`m${i}`, 'x'.repeat(5_000)));
    expect(all.figures.dropped).toBe(800);
    expect([all['series'].size, all['buckets'].size, all['due'].size]).toEqual([100, 100, 200]);
    await all.flush();
    expect([stored.size, all['due'].size, all['queue'].size]).toEqual([200, 0, 0]);
  });

  it('cut their messages', async () => {
    const all = events();
    all.record(about('m', 'x'.repeat(5_000)));
    await all.flush();
    expect(Buffer.byteLength([...stored.values()][0]?.note ?? '')).toBe(1_024);
  });

  it('wait for what is still to be written, but not for ever, and write nothing after their end', async () => {
    const all = events();
    trouble = { error: gone };
    all.record(about('m'));
    await settled();
    let isClosed = false;
    const closed = all.close(3_000).then(() => (isClosed = true));
    await clock.advance(2_999);
    expect(isClosed).toBe(false);
    await clock.advance(1);
    await closed;
    trouble = undefined;
    all.record(about('n'));
    await clock.advance(600_000);
    expect(stored.size).toBe(0);
    expect([all.figures, clock.pending]).toEqual([{ written: 0, dropped: 2, failed: 0 }, 0]);
  });
});
