import { afterEach, describe, expect, it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';
import { until } from '../testing.fixture.js';
import { event, FakeApi, object, page } from './api.fixture.js';
import { keyOf, Reflector, type KubeObject, type ReflectorTimes } from './reflector.js';

type Answer = Parameters<typeof FakeApi.start>[0];

const idle: Answer = (response) => void response.write('');
const quick: Partial<ReflectorTimes> = { firstWaitMs: 20, mostWaitMs: 100, steadyMs: 60_000 };

describe('Reflector', () => {
  const ends: Array<() => Promise<unknown>> = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function reflect(list: Answer, watch: Answer, times: Partial<ReflectorTimes> = {}) {
    const api = await FakeApi.start(list, watch);
    const changes: string[] = [];
    const errors: unknown[] = [];
    const reflector = new Reflector({
      client: api.client,
      path: '/things',
      onChange: ({ type, object: { metadata } }) =>
        changes.push(`${type} ${metadata.name} ${metadata.resourceVersion}`),
      onError: (error) => errors.push(error),
      times: { ...quick, ...times },
    });
    ends.push(
      () => api.stop(),
      () => reflector.stop(),
    );
    await reflector.start();
    return { api, reflector, changes, errors };
  }

  it('lists page by page, then watches from there', async () => {
    const { api, reflector, changes } = await reflect((response, url) => {
      if (url.searchParams.get('continue') === null) page(response, 5, [object('a', 3)], 'next');
      else page(response, 5, [object('b', 4)]);
    }, idle);
    await until('it watches', () => api.asked.length === 3);
    expect(api.asked).toEqual(['list', 'list', 'watch 5']);
    expect(changes).toEqual(['added a 3', 'added b 4']);
    expect([...reflector.values()].map(keyOf)).toEqual(['a', 'b']);
  });

  it('begins a watch that broke again where it was, without listing', async () => {
    let watches = 0;
    const { api, changes, errors } = await reflect(
      (response) => page(response, 5, [object('a', 3)]),
      (response) => {
        if (++watches > 1) return event(response, 'DELETED', object('a', 9));
        event(response, 'MODIFIED', object('a', 7));
        event(response, 'BOOKMARK', { metadata: { resourceVersion: '8' } });
        setTimeout(() => response.destroy(), 20);
      },
    );
    await until('it was deleted', () => changes.length === 3);
    expect(changes).toEqual(['added a 3', 'modified a 7', 'deleted a 7']);
    expect(api.asked).toEqual(['list', 'watch 5', 'watch 8']);
    expect(errors).toMatchObject([{ code: 'ERR_UNREACHABLE' }]);
  });

  it.each<[string, Answer]>([
    ['an event', (response) => event(response, 'ERROR', { kind: 'Status', code: 410, message: 'too old' })],
    ['an answer', (response) => response.writeHead(410).end('{"message":"too old"}')],
  ])('lists anew where the version is too old, as %s says, and tells what was missed', async (_, tooOld) => {
    let lists = 0;
    let watches = 0;
    const { api, changes } = await reflect(
      (response) =>
        ++lists === 1
          ? page(response, 5, [object('a', 3), object('b', 4), object('c', 4)])
          : page(response, 20, [object('b', 12), object('c', 15, 'another'), object('d', 11)]),
      (response, url) => (++watches === 1 ? tooOld(response, url) : idle(response, url)),
    );
    await until('it watches again', () => api.asked.at(-1) === 'watch 20');
    expect(changes.slice(3)).toEqual([
      'modified b 12',
      'deleted c 4',
      'added c 15',
      'added d 11',
      'deleted a 3',
    ]);
  });

  it('asks a server that ends each watch at once ever more seldom', async () => {
    const { api } = await reflect(
      (response) => page(response, 5, []),
      (response) => void response.end(),
      { firstWaitMs: 40, mostWaitMs: 10_000 },
    );
    await delay(1_000);
    // Waits of at most 40, 80, 160 ... ms, of at least a tenth of that: 5 to 9 requests, and never thousands.
    expect(api.asked.length).toBeGreaterThan(3);
    expect(api.asked.length).toBeLessThan(12);
  });

  it('asks a server that is gone ever more seldom, each client at another time', async () => {
    const times: number[][] = [];
    for (let i = 0; i < 3; i++) {
      const { api } = await reflect(
        (response) => page(response, 5, []),
        (response) => void response.destroy(),
        { firstWaitMs: 100, mostWaitMs: 10_000 },
      );
      times.push(api.times);
    }
    await delay(1_000);
    for (const each of times) expect(each.length).toBeLessThan(10);
    const gaps = times.map((each) => Math.round((each[3] ?? 0) - (each[2] ?? 0)));
    expect(new Set(gaps).size).toBeGreaterThan(1);
  });

  it('does not believe a watch that has gone quiet', async () => {
    const { api, errors } = await reflect((response) => page(response, 5, []), idle, { silentMs: 50 });
    await until('it watches again', () => api.asked.length >= 4);
    expect(api.asked.slice(0, 3)).toEqual(['list', 'watch 5', 'watch 5']);
    // There may have been nothing to tell.
    expect(errors).toEqual([]);
  });

  it('calls a server broken that does not begin to answer', async () => {
    const { api, errors } = await reflect(
      (response) => page(response, 5, []),
      () => undefined,
      { openMs: 50 },
    );
    await until('it watches again', () => api.asked.length >= 3);
    expect(errors.length).toBeGreaterThan(0);
  });

  it('leaves a watch alone that says something now and then', async () => {
    const speak = (response: ServerResponse): void => {
      const timer = setInterval(
        () => event(response, 'BOOKMARK', { metadata: { resourceVersion: '6' } }),
        20,
      );
      response.on('close', () => clearInterval(timer));
    };
    const { api, reflector } = await reflect((response) => page(response, 5, []), speak, { silentMs: 200 });
    await delay(600);
    expect(api.asked).toEqual(['list', 'watch 5']);
    expect(reflector.silentFor()).toBeLessThan(200);
  });

  it('lists all now and then anyway, and mends what it was not told', async () => {
    let items: KubeObject[] = [object('a', 3)];
    const { api, changes } = await reflect((response) => page(response, 5, items), idle, {
      resyncMs: 200,
      watchSeconds: 1,
    });
    items = [object('b', 4)];
    await until('it watches', () => api.asked.length === 2);
    await delay(250);
    api.endWatches('cleanly');
    await until('it has listed again', () => changes.length === 3);
    expect(changes).toEqual(['added a 3', 'added b 4', 'deleted a 3']);
  });

  describe('after a write', () => {
    async function written() {
      let stream: ServerResponse | undefined;
      const reflected = await reflect(
        (response) => page(response, 5, [object('a', 3)]),
        (response) => {
          stream = response;
          response.write('\n');
        },
      );
      await until('it watches', () => stream !== undefined);
      reflected.reflector.take(object('a', 10));
      return {
        ...reflected,
        tell: (type: string, what: object) => event(stream as ServerResponse, type, what),
      };
    }

    it('shows it before the watch tells of it, and no older news', async () => {
      const { changes, tell } = await written();
      for (const version of [7, 10, 12]) tell('MODIFIED', object('a', version));
      await until('the last is there', () => changes.at(-1) === 'modified a 12');
      expect(changes).toEqual(['added a 3', 'modified a 10', 'modified a 12']);
    });

    it('does not show again what was deleted, but what has its name since', async () => {
      const { reflector, changes, tell } = await written();
      reflector.bury(object('a', 10));
      for (const version of [7, 10]) tell('MODIFIED', object('a', version));
      tell('DELETED', object('a', 11));
      tell('ADDED', object('a', 12, 'another'));
      await until('the next of that name is there', () => changes.at(-1) === 'added a 12');
      expect(changes).toEqual(['added a 3', 'modified a 10', 'deleted a 10', 'added a 12']);
    });
  });

  it('waits for a server that is not there yet', async () => {
    let lists = 0;
    const { reflector, errors } = await reflect((response) => {
      if (++lists < 4) response.writeHead(503).end();
      else page(response, 5, [object('a', 3)]);
    }, idle);
    expect(reflector.get('a')).toBeDefined();
    expect(errors).toHaveLength(3);
  });
});
