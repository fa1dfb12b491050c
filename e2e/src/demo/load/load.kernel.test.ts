import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { Redis } from 'ioredis';
import { LoadProcess } from './process.js';
import type { ConnectParams, LoadEvent } from './protocol.js';

const connections = 40;
let folder: string;
let script: string;

async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A client of the tests' own; it must be disconnected. */
async function openClient(port: number): Promise<Redis> {
  const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: null });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function waitForServer(port: number): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      (await openClient(port)).disconnect();
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await sleep(100);
    }
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serval-load-'));
  script = join(folder, 'main.cjs');
  const entry = new URL('./main.ts', import.meta.url).pathname;
  await build({
    entryPoints: [entry],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  });
}, 60_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('the load on a real redis server', () => {
  let port: number;
  let server: ChildProcess;
  let load: LoadProcess;
  let events: LoadEvent[];

  beforeEach(async () => {
    port = await unusedPort();
    const options = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      folder,
    ];
    server = spawn('redis-server', options, { stdio: 'ignore' });
    await waitForServer(port);
    events = [];
    load = LoadProcess.start({ script, label: 'test', onEvent: (event) => events.push(event) });
  });

  afterEach(async () => {
    await load.stop();
    if (server.exitCode === null && server.signalCode === null) {
      server.kill('SIGKILL');
      await once(server, 'exit');
    }
  });

  const begin = async (params: Partial<ConnectParams> = {}): Promise<void> => {
    await load.connect({ host: '127.0.0.1', port, connections, paceMs: 10, publishMs: 10, ...params });
    await load.start();
    await sleep(500);
    await load.beginWindow();
  };

  it('works on as many TCP connections as asked for, and every reply is right', async () => {
    await begin();
    const client = await openClient(port);
    const listed = String(await client.client('LIST'))
      .trim()
      .split('\n');
    client.disconnect();
    expect(listed.filter((line) => line.includes('name=load-'))).toHaveLength(connections);
    await sleep(1500);
    const check = await load.check(2000);
    const stats = await load.endWindow();
    expect(check).toMatchObject({ connections, survived: connections, wrongRepliesTotal: 0, dead: [] });
    expect(stats).toMatchObject({
      connections,
      alive: connections,
      resets: 0,
      wrongReplies: 0,
      wrongExamples: [],
    });
    expect(stats.repliesTotal).toBeGreaterThan(1000);
    expect(stats.perKind.subscriber.replies).toBeGreaterThan(50);
    expect(stats.perKind.blocked.replies).toBeGreaterThan(0);
    expect(stats.perKind.idle).toMatchObject({ connections: 19, alive: 19, worstGapMs: 0 });
    expect(stats.worstGapMs).toBeGreaterThan(9);
    expect(stats.gapP50Ms).toBeLessThanOrEqual(stats.gapP99Ms);
    expect(stats.cpuShare).toBeLessThan(1);
  }, 30_000);

  it('sees a server that stands still as a gap of that length, and loses nothing', async () => {
    await begin();
    server.kill('SIGSTOP');
    await sleep(300);
    server.kill('SIGCONT');
    await sleep(500);
    const check = await load.check(2000);
    const stats = await load.endWindow();
    expect(stats.worstGapMs).toBeGreaterThan(300);
    expect(stats.worstGapMs).toBeLessThan(550);
    expect(stats.worstWaitMs).toBeGreaterThan(280);
    expect(stats.worstWaitMs).toBeLessThanOrEqual(stats.worstGapMs);
    expect(stats.gapP50Ms).toBeGreaterThan(280);
    expect(stats.worstGap?.connection).toBe(stats.worstGapConnection);
    expect(stats.perKind.subscriber.worstGapMs).toBeGreaterThan(280);
    expect(stats.eventLoopMaxMs).toBeLessThan(250);
    expect(stats).toMatchObject({ alive: connections, resets: 0, wrongReplies: 0 });
    expect(check.survived).toBe(connections);
  }, 30_000);

  it('counts a gap that is still open, and connections that hang as dead', async () => {
    await begin();
    server.kill('SIGSTOP');
    await sleep(400);
    const stats = await load.endWindow();
    expect(stats.worstGapMs).toBeGreaterThan(350);
    expect(stats).toMatchObject({ alive: connections, resets: 0 });
    const check = await load.check(300);
    expect(check.survived).toBe(0);
    expect(check.dead[0]?.reason).toBe('no answer in 300 ms');
    server.kill('SIGCONT');
  }, 30_000);

  it('reports every connection as reset when the server dies', async () => {
    await begin();
    server.kill('SIGKILL');
    await once(server, 'exit');
    await sleep(200);
    const check = await load.check(1000);
    const stats = await load.endWindow();
    expect(check.survived).toBe(0);
    expect(check.dead).toHaveLength(connections);
    expect(stats).toMatchObject({ connections, alive: 0, resets: connections, resetsTotal: connections });
    expect(stats.wrongReplies).toBe(0);
    expect(events.filter(({ event }) => event === 'reset')).toHaveLength(connections);
    await load.beginWindow();
    expect(await load.endWindow()).toMatchObject({ resets: 0, resetsTotal: connections });
  }, 30_000);

  it('notices a reset of one connection alone', async () => {
    await begin();
    const client = await openClient(port);
    const line = String(await client.client('LIST'))
      .split('\n')
      .find((each) => each.includes('name=load-idle-3'));
    await client.client('KILL', 'ID', /id=(\d+)/.exec(line ?? '')?.[1] ?? '');
    client.disconnect();
    await sleep(200);
    const check = await load.check(1000);
    expect(check.dead).toEqual([
      { connection: 'load-idle-3', kind: 'idle', reason: expect.stringContaining('closed') },
    ]);
    expect((await load.endWindow()).resets).toBe(1);
  }, 30_000);

  it('notices replies, messages and pops that are not the right ones', async () => {
    await begin();
    const client = await openClient(port);
    const [counter = ''] = await client.keys('load:*:load-pipelined-1:n');
    const prefix = counter.replace(/:load-pipelined-1:n$/, '');
    await client.incr(counter);
    await sleep(100);
    expect((await load.check(1000)).wrongRepliesTotal).toBeGreaterThanOrEqual(1);
    await client.set(`${prefix}:load-pipelined-2:n`, 'not a number');
    await client.publish(`${prefix}:messages`, '1');
    await client.rpush(`${prefix}:load-blocked-1:list`, 'foreign');
    await sleep(100);
    client.disconnect();
    const stats = await load.endWindow();
    const noticed = new Set(stats.wrongExamples.map(({ connection }) => connection));
    expect([...noticed].sort()).toEqual([
      'load-blocked-1',
      'load-pipelined-1',
      'load-pipelined-2',
      'load-subscriber-1',
      'load-subscriber-2',
    ]);
    expect(stats.resets).toBe(0);
    expect(stats.wrongReplies).toBe(stats.wrongRepliesTotal);
    expect(events.some(({ event }) => event === 'wrong')).toBe(true);
  }, 30_000);

  it('fails with a typed error that names the server or the field', async () => {
    const closed = await unusedPort();
    await expect(load.connect({ host: '127.0.0.1', port: closed, connections: 3 })).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
      subject: `load process test, redis server 127.0.0.1:${closed}`,
    });
    await expect(load.connect({ host: '127.0.0.1', port, paceMs: -1 })).rejects.toMatchObject({
      code: 'ERR_BAD_INPUT',
      subject: expect.stringContaining('paceMs'),
    });
    await expect(load.start()).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
    await expect(load.endWindow()).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
    expect(events.filter(({ event }) => event === 'reset')).toEqual([]);
  }, 30_000);

  it('ends with its parent, and says when it is gone', async () => {
    await begin();
    await load.stop();
    await expect(load.check(100)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    const client = await openClient(port);
    const listed = String(await client.client('LIST'));
    client.disconnect();
    expect(listed).not.toContain('name=load-');
    const broken = LoadProcess.start({ prefix: ['/nowhere/nsenter'], script });
    await expect(broken.start()).rejects.toMatchObject({ reason: expect.stringContaining('ENOENT') });
    await broken.stop();
  }, 30_000);
});
