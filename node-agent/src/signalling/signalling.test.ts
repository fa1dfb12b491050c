/** Requests and replies over real connections: limits, errors, broken networks. */
import type { ClientHttp2Session } from 'node:http2';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import { Random } from '../packet-tests/prng.js';
import type { Abort, Outcome, Reply } from '../protocol/messages.js';
import { Cluster, until } from './cluster.fixture.js';
import { encodeMessage } from './codec.js';
import { randomly, type Mishap } from './interference.js';
import { messageKinds, peerFlow, randomMessage, randomReply } from './messages.fixture.js';
import { post, rawSession, Wire } from './raw.fixture.js';
import { SignallingServer, type ServerLimits } from './server.js';

const abort: Abort = { kind: 'abort', migration: '0123456789abcdef' };
const outcome: Outcome = { kind: 'outcome', migration: '0123456789abcdef' };
const rejected = (code: string, details: object = {}) =>
  expect.objectContaining({ code, details: expect.objectContaining(details) });

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.make();
});
afterEach(() => cluster.end());

async function strict(limits: Partial<ServerLimits>) {
  return cluster.server('b', { limits });
}

/** A session with a certificate that is right, for requests that are not. */
async function raw(address: { address: string; port: number }) {
  const { cert, key } = (await cluster.credentials('raw')).current;
  return rawSession(address, { cert, key });
}

describe('requests', () => {
  it('of every kind arrive as they were sent, and so do their replies', async () => {
    const { address } = await cluster.server('b');
    const client = await cluster.client('a');
    const random = new Random(5);
    for (const kind of messageKinds) {
      const [message, reply] = [randomMessage(random, kind), randomReply(random, kind)];
      cluster.reply = () => Promise.resolve(reply);
      expect(await client.request('b', address, message)).toEqual(reply);
      expect(cluster.heard.at(-1)).toEqual({ from: 'a', message });
    }
  });

  it('share one connection, many at a time, and get each its own answer', async () => {
    const { server, address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = async (_, message) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
      return { ok: false, refusal: 'busy', reason: 'migration' in message ? message.migration : '' };
    };
    const ids = Array.from({ length: 500 }, (_, index) => index.toString(16).padStart(16, '0'));
    const replies = await Promise.all(
      ids.map((migration) => client.request('b', address, { kind: 'abort', migration })),
    );
    expect(replies.map((reply) => !reply.ok && reply.reason)).toEqual(ids);
    expect(server.counters().admitted).toBe(1);
  });

  it('with very many flows go through', async () => {
    const { address } = await cluster.server('b');
    const client = await cluster.client('a');
    const flow = peerFlow(new Random(9));
    const flows = Array.from({ length: 100_000 }, (_, index) => ({
      ...flow,
      peer: { ...flow.peer, port: 1 + (index % 65_535) },
    }));
    expect(await client.request('b', address, { ...abort, kind: 'ended', flows })).toEqual({ ok: true });
    expect(cluster.heard[0]?.message).toEqual({ ...abort, kind: 'ended', flows });
  });

  it('of many nodes each count as their sender', async () => {
    const { server, address } = await cluster.server('b');
    const nodes = Array.from({ length: 60 }, (_, index) => `node-${index}`);
    const clients = await Promise.all(nodes.map((node) => cluster.client(node)));
    await Promise.all(clients.map((client) => client.request('b', address, abort)));
    expect(cluster.heard.map(({ from }) => from).sort()).toEqual([...nodes].sort());
    expect(server.counters().sessions).toBe(60);
  });
});

describe('what the server refuses', () => {
  it.each<[string, string, string, number, object]>([
    [
      'another version',
      '/v2/message',
      '',
      404,
      { code: 'ERR_UNSUPPORTED', reason: 'this agent speaks version 1 of the protocol, not 2' },
    ],
    ['another path', '/v1/other', '', 404, { code: 'ERR_NOT_FOUND' }],
    ['no path at all', '/', '', 404, { code: 'ERR_NOT_FOUND' }],
    [
      'a message that is none',
      '/v1/message',
      '{"kind":"abort"}',
      400,
      { code: 'ERR_BAD_INPUT', subject: 'field "migration"', refusal: 'failed' },
    ],
    ['an empty message', '/v1/message', '', 400, { code: 'ERR_BAD_INPUT' }],
    ['images where nobody takes them', '/v1/images/0123456789abcdef', '', 400, { code: 'ERR_BAD_INPUT' }],
  ])('names the reason for %s', async (_, path, body, status, expected) => {
    const { server, address } = await cluster.server('b');
    const session = await raw(address);
    const answer = await post(session, path, body);
    expect(answer).toMatchObject({ status, body: { ok: false, ...expected } });
    expect(server.counters().errors).toEqual({ [String(answer.body['code'])]: 1 });
    expect(cluster.heard).toEqual([]);
    session.destroy();
  });

  it('is a body over the limit, said or unsaid', async () => {
    const { address } = await strict({ bodyBytes: 1000 });
    const session = await raw(address);
    const long = 'x'.repeat(1_000_000);
    for (const headers of [{}, { 'content-length': long.length }])
      expect(await post(session, '/v1/message', long, { headers })).toMatchObject({
        status: 413,
        body: { code: 'ERR_LIMIT' },
      });
    // The session goes on.
    expect(await post(session, '/v1/message', encodeMessage(abort))).toMatchObject({
      status: 200,
      body: { ok: true },
    });
    session.destroy();
  });

  it('is more at a time than there is memory for', async () => {
    const { address } = await strict({ pendingBytes: 100_000 });
    const session = await raw(address);
    const held = post(session, '/v1/message', 'x'.repeat(90_000), { end: false });
    let refused = await post(session, '/v1/message', 'x'.repeat(90_000));
    // Either one may have been the first to arrive.
    while (refused.status === 400) refused = await post(session, '/v1/message', 'x'.repeat(90_000));
    expect(refused).toMatchObject({ status: 413, body: { code: 'ERR_LIMIT' } });
    session.destroy();
    await held;
    // What was kept is given back.
    const again = await raw(address);
    expect(await post(again, '/v1/message', encodeMessage(abort))).toMatchObject({ status: 200 });
    again.destroy();
  });

  it('is a header that is too long', async () => {
    const { address } = await cluster.server('b');
    const session = await raw(address);
    // The limit holds from when the client has heard of it.
    await post(session, '/v1/other', '');
    const answer = await post(session, '/v1/message', encodeMessage(abort), {
      headers: { long: 'x'.repeat(60_000) },
    });
    expect(answer.status).not.toBe(200);
    expect(cluster.heard).toEqual([]);
    session.destroy();
  });

  it('is a client that is too slow', async () => {
    const { address } = await strict({ bodyMs: 50 });
    const session = await raw(address);
    expect(await post(session, '/v1/message', '{"kind"', { end: false })).toMatchObject({
      status: 408,
      body: { code: 'ERR_TIMEOUT' },
    });
    session.destroy();
  });

  it('is more streams than allowed in one session: they wait, and all are answered', async () => {
    const { address } = await strict({ streamsPerSession: 4 });
    const client = await cluster.client('a');
    let [now, most] = [0, 0];
    cluster.reply = async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now--;
      return { ok: true };
    };
    await client.warm('b', address);
    await Promise.all(Array.from({ length: 40 }, () => client.request('b', address, abort)));
    expect(cluster.heard).toHaveLength(40);
    expect(most).toBeLessThanOrEqual(4);
  });

  it('is more sessions than a node may have: the oldest goes', async () => {
    const { server, address } = await strict({ sessionsPerNode: 2 });
    const { cert, key } = (await cluster.credentials('a')).current;
    const sessions: ClientHttp2Session[] = [];
    for (let count = 0; count < 4; count++) {
      const session = rawSession(address, { cert, key });
      expect(await post(session, '/v1/message', encodeMessage(abort))).toMatchObject({ status: 200 });
      sessions.push(session);
    }
    await until('two are left', () => sessions.filter(({ destroyed }) => !destroyed).length === 2);
    expect(sessions.map(({ destroyed }) => destroyed)).toEqual([true, true, false, false]);
    expect(server.counters().sessions).toBe(2);
    for (const session of sessions) session.destroy();
  });

  it('is what the handler fails at, with its own error or another', async () => {
    const { address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = () =>
      Promise.reject(new ServalError('ERR_CONFLICT', { subject: 'x', reason: 'y', remedy: 'z' }));
    const error = client.request('b', address, abort);
    await expect(error).rejects.toEqual(
      rejected('ERR_CONFLICT', { node: 'b', status: 409, refusal: 'conflict' }),
    );
    cluster.reply = () => Promise.reject(new TypeError('no such thing'));
    await expect(client.request('b', address, abort)).rejects.toThrow(
      '/v1/message: it failed: no such thing',
    );
  });
});

describe('what the client says of its failures', () => {
  it('is that an answer can not be used', async () => {
    const { address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = () => Promise.resolve({ ok: true, word: 'perhaps' } as unknown as Reply);
    await expect(client.request('b', address, outcome)).rejects.toEqual(
      rejected('ERR_BAD_ANSWER', { node: 'b' }),
    );
    const small = await cluster.client('a', { limits: { replyBytes: 10 } });
    await expect(small.request('b', address, outcome)).rejects.toEqual(rejected('ERR_BAD_ANSWER'));
  });

  it('is that there was none in time, and the connection is as good as before', async () => {
    const { server, address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = () => new Promise(() => undefined);
    await expect(client.request('b', address, abort, { timeoutMs: 50 })).rejects.toEqual(
      rejected('ERR_TIMEOUT'),
    );
    cluster.reply = () => Promise.resolve({ ok: true });
    expect(await client.request('b', address, abort)).toEqual({ ok: true });
    expect(server.counters().admitted).toBe(1);
  });

  it('is that nobody is there; attempts are few, and it comes back', async () => {
    const { server, address } = await cluster.server('b');
    const client = await cluster.client('a', { limits: { backoffMs: 20, backoffMaxMs: 100 } });
    expect(await client.request('b', address, abort)).toEqual({ ok: true });
    await server.close({ graceMs: 0 });
    const start = performance.now();
    let failures = 0;
    while (performance.now() - start < 400) {
      await expect(client.request('b', address, abort)).rejects.toEqual(rejected('ERR_UNREACHABLE'));
      failures++;
    }
    // Pauses of at least 0, 10, 20, 40, 50, 50, ... ms lie between the attempts.
    expect(failures).toBeLessThan(12);
    await expect(client.request('b', address, abort, { timeoutMs: 1 })).rejects.toEqual(
      rejected('ERR_UNREACHABLE'),
    );
    const again = await cluster.server('b', {});
    expect(await client.request('b', again.address, abort)).toEqual({ ok: true });
  });

  it('is that it was closed', async () => {
    const { address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = () => new Promise(() => undefined);
    const waiting = client.request('b', address, abort);
    await until('it arrived', () => cluster.heard.length === 1);
    client.close();
    await expect(waiting).rejects.toEqual(rejected('ERR_UNREACHABLE'));
    await expect(client.request('b', address, abort)).rejects.toEqual(
      expect.objectContaining({ code: 'ERR_UNREACHABLE' }),
    );
  });
});

describe('a connection whose other end is gone', () => {
  it('is noticed by both, and the next request takes a new one', async () => {
    const { server, address } = await strict({ pingEveryMs: 30, pingWithinMs: 60 });
    const wire = await Wire.to(address);
    // Only a request that got no answer makes the client look.
    const client = await cluster.client('a', { limits: { pingWithinMs: 60 } });
    await client.warm('b', wire.address);
    wire.cut();
    await expect(client.request('b', wire.address, abort, { timeoutMs: 50 })).rejects.toEqual(
      rejected('ERR_TIMEOUT'),
    );
    await until('the server has given it up', () => server.counters().sessions === 0);
    await expect(client.request('b', wire.address, abort, { timeoutMs: 2_000 })).rejects.toEqual(
      rejected('ERR_UNREACHABLE'),
    );
    expect(await client.request('b', wire.address, abort)).toEqual({ ok: true });
    wire.close();
  });

  it('is noticed without any request, by the pings', async () => {
    const { server, address } = await cluster.server('b');
    const wire = await Wire.to(address);
    const client = await cluster.client('a', { limits: { pingEveryMs: 30, pingWithinMs: 60 } });
    await client.warm('b', wire.address);
    wire.cut();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await client.request('b', wire.address, abort, { timeoutMs: 1_000 })).toEqual({ ok: true });
    expect(server.counters().admitted).toBe(2);
    wire.close();
  });
});

describe('a server that stops', () => {
  it('answers what it has, and takes no more', async () => {
    const { server, address } = await cluster.server('b');
    const client = await cluster.client('a');
    let finish = (): void => undefined;
    cluster.reply = () => new Promise((resolve) => (finish = () => resolve({ ok: true })));
    const waiting = client.request('b', address, abort);
    await until('it arrived', () => cluster.heard.length === 1);
    const closed = server.close({ graceMs: 5_000 });
    await expect(client.request('b', address, outcome)).rejects.toEqual(rejected('ERR_UNREACHABLE'));
    finish();
    expect(await waiting).toEqual({ ok: true });
    await closed;
    expect(cluster.heard).toHaveLength(1);
  });

  it('does not wait for ever', async () => {
    const { server, address } = await cluster.server('b');
    const client = await cluster.client('a');
    cluster.reply = () => new Promise(() => undefined);
    const waiting = client.request('b', address, abort);
    await until('it arrived', () => cluster.heard.length === 1);
    const [outcomeOfIt] = await Promise.allSettled([waiting, server.close({ graceMs: 50 })]);
    expect(outcomeOfIt).toMatchObject({ status: 'rejected', reason: { code: 'ERR_UNREACHABLE' } });
  });

  it('says which port it can not have', async () => {
    const { address } = await cluster.server('b');
    const credentials = await cluster.credentials('c');
    const second = new SignallingServer({ credentials, onMessage: () => Promise.resolve({ ok: true }) });
    await expect(second.listen(address)).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
    await expect(second.listen({ address: '203.0.113.1', port: 0 })).rejects.toMatchObject({
      code: 'ERR_BAD_INPUT',
    });
    await second.close();
  });
});

describe('interference', () => {
  it.each<[string, Mishap, number]>([
    ['loses requests', { loseRequest: true }, 0],
    ['loses replies', { loseReply: true }, 1],
  ])('%s, at the client or the server', async (_, mishap, heard) => {
    const [quiet, lossy] = [
      await cluster.server('b'),
      await cluster.server('c', { interfere: () => mishap }),
    ];
    const client = await cluster.client('a', { interfere: ({ node }) => (node === 'b' ? mishap : {}) });
    for (const [node, { address }] of Object.entries({ b: quiet, c: lossy })) {
      cluster.heard.length = 0;
      await expect(client.request(node, address, abort, { timeoutMs: 60 })).rejects.toEqual(
        rejected('ERR_TIMEOUT'),
      );
      expect(cluster.heard).toHaveLength(heard);
    }
  });

  it('doubles and delays', async () => {
    const { address } = await cluster.server('b');
    const late = await cluster.client('a', { interfere: () => ({ delayRequest: 30, delayReply: 30 }) });
    const start = performance.now();
    await late.request('b', address, abort);
    expect(performance.now() - start).toBeGreaterThan(55);
    const twice = await cluster.client('a', { interfere: () => ({ duplicate: true }) });
    await twice.request('b', address, abort);
    await until('both arrived', () => cluster.heard.length === 3);
  });

  it('does so as often as it was told, the same for the same seed', () => {
    const run = (): Mishap[] => {
      const random = new Random(11);
      const interfere = randomly(
        { lose: 0.2, duplicate: 0.1, delay: 0.5, delayMs: 10 },
        () => random.word() / 2 ** 32,
      );
      return Array.from({ length: 10_000 }, () => interfere({ node: 'b', kind: 'abort' }));
    };
    const mishaps = run();
    expect(run()).toEqual(mishaps);
    const share = (what: keyof Mishap): number =>
      mishaps.filter((mishap) => Boolean(mishap[what])).length / 10_000;
    expect(share('loseRequest')).toBeCloseTo(0.2, 1);
    expect(share('loseReply')).toBeCloseTo(0.2, 1);
    expect(share('duplicate')).toBeCloseTo(0.1, 1);
    expect(share('delayReply')).toBeCloseTo(0.5, 1);
    expect(Math.max(...mishaps.map(({ delayRequest = 0 }) => delayRequest))).toBeLessThan(10);
  });

  it('leaves other kinds of messages alone where it is told kinds', () => {
    const interfere = randomly({ lose: 1, kinds: ['release'] }, () => 0);
    expect(interfere({ node: 'b', kind: 'release' })).toMatchObject({ loseRequest: true, loseReply: true });
    expect(interfere({ node: 'b', kind: 'hold' })).toEqual({});
  });
});
