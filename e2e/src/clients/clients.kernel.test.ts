import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { pidsOf } from '../lab/testing.js';
import {
  curl,
  dig,
  digAddresses,
  goClient,
  hostPort,
  javaClient,
  javaWays,
  mappedAddress,
  pipelinedAt,
  psql,
  redisAsk,
  redisClusterAsk,
  redisClusterPipelines,
  redisPipeline,
  resolveBy,
  startDns,
  startHold,
  startLoop,
  startMovableWho,
  startNginx,
  startNginxProxy,
  startPostgres,
  startRedis,
  startRedisCluster,
  startWho,
  summarize,
} from './index.js';

/* Each client and server, straight to the server's own address: so that what fails elsewhere is not for their sake. */
beforeAll(() => requireRoot());
jest.setTimeout(60_000);

const name = 'web.shop.svc.cluster.local';

describe('clients and servers', () => {
  let lab: Lab;
  let client: Pod, a: Pod, b: Pod, c: Pod;
  const started: Array<{ stop(): Promise<unknown> }> = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 2 });
    client = await lab.createPod({ name: 'client', host: 's2-h1' });
    a = await lab.createPod({ name: 'a', host: 's1-h1' });
    b = await lab.createPod({ name: 'b', host: 's1-h1' });
    c = await lab.createPod({ name: 'c', host: 's2-h1' });
  });
  afterAll(() => lab.remove());
  afterEach(async () => {
    await Promise.all(started.splice(0).map((one) => one.stop()));
    expect(pidsOf(lab.id)).toHaveLength(lab.pods.length); // the pause processes
  });

  async function keep<Started extends { stop(): Promise<unknown> }>(
    start: Promise<Started>,
  ): Promise<Started> {
    const one = await start;
    started.push(one);
    return one;
  }

  const addresses = ({ address4, address6 }: Pod) => [address4, address6];
  const mapped = (address: string, port: number) => hostPort(mappedAddress(address), port);

  describe('of our own', () => {
    it('loop over TCP, with sockets of each family', async () => {
      await keep(startWho(a, 7000));
      await keep(startWho(b, 7000, { name: 'other', bind: ['0.0.0.0'] }));
      for (const [host, family, peer] of [
        [a.address4, 'auto', hostPort(a.address4, 7000)],
        [a.address6, 'auto', hostPort(a.address6, 7000)],
        [a.address4, 'mapped', mapped(a.address4, 7000)],
      ] as const) {
        const attempts = await startLoop(client, host, 7000, { count: 20, family }).finished();
        expect(summarize(attempts)).toMatchObject({ attempts: 20, failed: 0, counts: { a: 20 } });
        expect(new Set(attempts.map((one) => one.peer))).toEqual(new Set([peer]));
        const ours = host === a.address6 ? client.address6 : client.address4;
        for (const { seen = '', connectMs, ms } of attempts) {
          expect(seen.startsWith(hostPort(ours, ''))).toBe(true);
          expect(connectMs).toBeLessThanOrEqual(ms);
        }
      }
      const others = await startLoop(client, b.address4, 7000, { count: 3, abort: true }).finished();
      expect(summarize(others).counts).toEqual({ other: 3 });
    });

    it('loop at a rate: one that hangs does not keep the next from beginning', async () => {
      await keep(startWho(a, 7000));
      await keep(startWho(b, 7000, { slowMs: 400 }));
      const loops = [a, b].map((pod) => startLoop(client, pod.address4, 7000, { rate: 50, seconds: 0.5 }));
      const [fast = [], slow = []] = await Promise.all(loops.map((loop) => loop.finished()));
      for (const attempts of [fast, slow]) {
        expect(summarize(attempts)).toMatchObject({ failed: 0 });
        expect(attempts.length).toBeGreaterThanOrEqual(24);
        expect(attempts.length).toBeLessThanOrEqual(26);
      }
      expect(summarize(slow).worstMs).toBeGreaterThan(400);
      expect(summarize(slow).connectMs.median).toBeLessThan(100);
    });

    it('say what failed, and how long that took', async () => {
      const refused = await startLoop(client, a.address4, 7000, { count: 2 }).finished();
      expect(summarize(refused).errors).toEqual({ 'connect: connection refused': 2 });
      await keep(startWho(a, 7000));
      await lab.cut('s1-h1');
      try {
        const options = { rate: 20, count: 4, timeoutMs: 150 };
        const silent = await startLoop(client, a.address4, 7000, options).finished();
        expect(summarize(silent).errors).toEqual({ 'connect: no answer in time': 4 });
        for (const { connectMs } of silent) {
          expect(connectMs).toBeGreaterThanOrEqual(150);
          expect(connectMs).toBeLessThan(400);
        }
      } finally {
        await lab.mend('s1-h1');
      }
      await resolveBy(client, {});
      await expect(startLoop(client, 'no.such.name', 7000, { count: 1 }).finished()).rejects.toThrow(
        /no\.such\.name/,
      );
    });

    it('ask by datagrams, connected and not', async () => {
      await keep(startWho(a, 7000));
      for (const host of addresses(a))
        for (const udp of ['connected', 'unconnected'] as const)
          for (const isKept of [false, true]) {
            const options = { count: 10, udp, keep: isKept };
            const attempts = await startLoop(client, host, 7000, options).finished();
            expect(summarize(attempts)).toMatchObject({ failed: 0, counts: { a: 10 } });
            expect(new Set(attempts.map(({ peer }) => peer))).toEqual(new Set([hostPort(host, 7000)]));
            expect(new Set(attempts.map(({ seen }) => seen)).size).toBe(isKept ? 1 : 10);
          }
      const options = { count: 1, udp: 'unconnected', family: 'mapped' } as const;
      const [attempt] = await startLoop(client, a.address4, 7000, options).finished();
      expect(attempt).toMatchObject({ name: 'a', peer: mapped(a.address4, 7000) });
    });

    it('hold connections open, and notice at once when one is lost', async () => {
      const server = await keep(startWho(a, 7000));
      const idle = await keep(
        Promise.resolve(startHold(client, a.address4, 7000, { connections: 5, everyMs: 0 })),
      );
      const busy = await keep(
        Promise.resolve(startHold(client, a.address6, 7000, { connections: 5, everyMs: 20 })),
      );
      expect((await idle.opened(5)).map((row) => row.name)).toEqual(Array(5).fill('a'));
      await busy.opened(5);
      await delay(100);
      const closed = (await busy.stop()).filter(({ event }) => event === 'closed');
      expect(closed).toHaveLength(5);
      for (const { answers } of closed) expect(answers).toBeGreaterThan(2);
      expect(idle.lost).toEqual([]);
      const before = Date.now();
      await server.stop();
      const lost = await idle.until('to lose all', () => idle.lost.length === 5);
      for (const { at } of lost.filter(({ event }) => event === 'lost'))
        expect(at - before).toBeLessThan(1000);
      expect((await idle.stop()).filter(({ event }) => event === 'closed')).toEqual([]);
    });

    it('can be deaf: connections are established, and wait', async () => {
      await keep(startWho(a, 7000, { deaf: true }));
      const [attempt] = await startLoop(client, a.address4, 7000, { count: 1, timeoutMs: 100 }).finished();
      expect(attempt?.error).toBe('ask: no answer in time');
      expect(attempt?.connectMs).toBeLessThan(100);
    });
  });

  it('whose replicas may be moved', async () => {
    const pod = await lab.createPod({ name: 'movable', host: 's1-h1' });
    const { pid, cgroup } = await startMovableWho(lab, pod, 7000, { name: 'm' });
    expect(readFileSync(`${cgroup}/cgroup.procs`, 'utf8')).toBe(`${pid}\n`);
    expect(
      readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)),
    ).not.toContainEqual(expect.stringContaining('pipe:'));
    expect((await goClient(client, pod.address6, 7000)).counts).toEqual({ m: 1 });
    for (const another of [startMovableWho(lab, pod, 7000), startWho(pod, 7000)])
      await expect(another).rejects.toThrow(/another server listens/);
    await expect(startWho(pod, 7001, { bind: ['192.0.2.1'] })).rejects.toThrow(/cannot assign/);
    await pod.remove();
  });

  it('in Go, by TCP, UDP and net/http', async () => {
    await keep(startWho(a, 7000));
    for (const host of addresses(a))
      for (const protocol of ['tcp', 'udp', 'http'] as const) {
        const { answers, counts } = await goClient(client, host, 7000, { count: 5, protocol });
        expect(counts).toEqual({ a: 5 });
        expect(answers[0]?.peer).toBe(hostPort(host, 7000));
      }
    await expect(goClient(client, a.address4, 7001)).rejects.toThrow(/refused|1 of 1 failed/);
  });

  it('in Java, in each of its ways', async () => {
    await keep(startWho(a, 7000));
    for (const way of javaWays) {
      const host = way === 'selector' || way === 'datagram-channel' ? a.address6 : a.address4;
      const { answers, counts } = await javaClient(client, host, 7000, { count: 5, way });
      expect(counts).toEqual({ a: 5 });
      if (way !== 'http') expect(answers[0]?.peer).toBe(hostPort(host, 7000));
    }
    const only4 = await javaClient(client, a.address4, 7000, { way: 'channel', ipv4Only: true });
    expect(only4.counts).toEqual({ a: 1 });
  });

  it('curl and nginx', async () => {
    await Promise.all([keep(startNginx(a, 80)), keep(startNginx(b, 80, { name: 'other' }))]);
    for (const host of addresses(a)) {
      const { answers, counts } = await curl(client, host, 80, { count: 5 });
      expect(counts).toEqual({ a: 5 });
      expect(answers[0]?.peer).toBe(hostPort(host, 80));
      expect(new Set(answers.map(({ seen }) => seen)).size).toBe(5);
    }
    const toMapped = await curl(client, mappedAddress(a.address4), 80);
    expect(toMapped.answers[0]).toMatchObject({ name: 'a', peer: mapped(a.address4, 80) });
    expect((await curl(client, b.address4, 80)).counts).toEqual({ other: 1 });
    await expect(curl(client, c.address4, 80)).rejects.toThrow(/connect/i);
  });

  it('nginx as a client: a reverse proxy', async () => {
    await keep(startNginx(a, 80));
    await keep(startDns(b, { records: { [name]: addresses(a) } }));
    await resolveBy(c, { hosts: { [name]: [a.address4] } });
    const upstreams = [
      { host: a.address4, port: 80 },
      { host: a.address6, port: 80 },
      { host: name, port: 80 },
      { host: name, port: 80, resolver: b.address4 },
    ];
    for (const [index, upstream] of upstreams.entries()) {
      await keep(startNginxProxy(c, 8080 + index, upstream));
      const { answers, counts } = await curl(client, c.address4, 8080 + index, { count: 4 });
      expect(counts).toEqual({ a: 4 });
      for (const { seen = '' } of answers) expect(addresses(c)).toContain(seen.replace(/:\d+$/, ''));
    }
    await keep(startNginxProxy(c, 8090, { host: a.address4, port: 81 }));
    await expect(curl(client, c.address4, 8090)).rejects.toThrow(/502/);
  });

  it('redis-cli and redis-server, with pipelines', async () => {
    const [server] = await Promise.all([keep(startRedis(a, 6379)), keep(startRedis(b, 6379))]);
    for (const host of [...addresses(a), mappedAddress(a.address4)])
      expect((await redisAsk(client, host, 6379, { count: 5 })).counts).toEqual({ a: 5 });
    expect((await redisAsk(client, b.address4, 6379)).counts).toEqual({ b: 1 });
    const options = { connections: 4, commands: 5000 };
    expect(await redisPipeline(client, a.address6, 6379, options)).toEqual({ replies: 20_000, errors: 0 });
    expect(await pipelinedAt(server, 6379)).toBe(20_000);
    await expect(redisAsk(client, c.address4, 6379)).rejects.toThrow(/refused/);
  });

  it('a Redis cluster, entered by one address, that sends its clients to names', async () => {
    const pods = [a, b, c];
    const names = pods.map((pod) => `redis-${pod.name}.shop.svc.cluster.local`);
    const hosts = Object.fromEntries(pods.map((pod, index) => [names[index] ?? '', [pod.address4]]));
    const cluster = await keep(startRedisCluster(pods, 6379, { names }));
    await resolveBy(client, { hosts });
    const { answers, counts } = await redisClusterAsk(client, b.address4, 6379, { nodes: 3, count: 3 });
    expect(counts).toEqual({ a: 3, b: 3, c: 3 });
    expect(new Set(answers.map(({ peer }) => peer))).toEqual(
      new Set(names.map((host) => hostPort(host, 6379))),
    );
    const sent = await redisClusterPipelines(client, b.address4, 6379, { commands: 1000 });
    expect(sent).toEqual(names.map((host) => ({ host, replies: 1000, errors: 0 })));
    expect(await cluster.pipelined()).toEqual([1000, 1000, 1000]);
  });

  it('psql and PostgreSQL', async () => {
    await Promise.all([keep(startPostgres(a, 5432)), keep(startPostgres(b, 5432, { name: 'other' }))]);
    for (const [host, ours] of [
      [a.address4, client.address4],
      [a.address6, client.address6],
      [mappedAddress(a.address4), client.address4],
    ] as const) {
      const { answers, counts } = await psql(client, host, 5432, { count: 5 });
      expect(counts).toEqual({ a: 5 });
      expect(answers.every(({ seen }) => seen?.startsWith(hostPort(ours, '')))).toBe(true);
      expect(new Set(answers.map(({ seen }) => seen)).size).toBe(5);
    }
    expect((await psql(client, b.address4, 5432)).counts).toEqual({ other: 1 });
    await expect(psql(client, c.address4, 5432)).rejects.toThrow(/refused/);
  });

  it('dig and dnsmasq, over UDP and TCP, also through a server that passes questions on', async () => {
    const upstreams = [{ address: a.address4, port: 5353 }];
    await keep(startDns(a, { port: 5353, records: { [name]: ['10.96.0.10', 'fd00:96::10'] } }));
    await keep(startDns(b, { upstreams }));
    for (const host of addresses(a))
      for (const tcp of [false, true])
        expect((await dig(client, host, 5353, { count: 5, tcp })).counts).toEqual({ a: 5 });
    expect((await dig(client, b.address4, 53, { count: 5 })).counts).toEqual({ a: 5 });
    expect(await digAddresses(client, b.address6, name)).toEqual(['10.96.0.10']);
    expect(await digAddresses(client, a.address4, name, { port: 5353, type: 'AAAA' })).toEqual([
      'fd00:96::10',
    ]);
    expect(await digAddresses(client, b.address6, 'no.such.name')).toEqual([]);
    await expect(dig(client, mappedAddress(a.address4), 5353)).rejects.toThrow(/mapped/);
    await expect(dig(client, c.address4)).rejects.toThrow(/refused|timed out/);
  });

  it.each(['hosts', 'a DNS server'])('find a name by %s', async (way) => {
    await Promise.all([keep(startWho(a, 7000)), keep(startRedis(a, 6379)), keep(startPostgres(a, 5432))]);
    await keep(startDns(b, { records: { [name]: addresses(a) } }));
    const names = way === 'hosts' ? { hosts: { [name]: addresses(a) } } : { servers: [b.address4] };
    const one = { a: 1 };
    await resolveBy(client, {});
    await expect(curl(client, name, 7000)).rejects.toThrow(/resolve/);
    await resolveBy(client, names);
    expect((await curl(client, name, 7000)).counts).toEqual(one);
    expect((await redisAsk(client, name, 6379)).counts).toEqual(one);
    expect((await psql(client, name, 5432)).counts).toEqual(one);
    expect((await javaClient(client, name, 7000)).counts).toEqual(one);
    expect((await goClient(client, name, 7000, { protocol: 'http' })).counts).toEqual(one);
    expect(summarize(await startLoop(client, name, 7000, { count: 1 }).finished()).counts).toEqual(one);
    await resolveBy(client, { ...names, search: ['svc.cluster.local'] });
    if (way !== 'hosts') expect((await curl(client, 'web.shop', 7000)).counts).toEqual(one);
  });

  it('leave no files, and nothing outside of their pods', async () => {
    const before = readdirSync('/dev/shm');
    const servers = await Promise.all([keep(startPostgres(a, 5432)), keep(startNginx(a, 80))]);
    const segments = await lab.host('s1-h1').run('ipcs', ['-m']);
    expect(segments).not.toMatch(/^0x[0-9a-f]+ +\d+ +nobody/m);
    expect(readdirSync('/dev/shm')).toEqual(before);
    const files = () =>
      readdirSync(`/proc/${a.pausePid}/root/media`).filter((file) => !file.startsWith('etc-'));
    expect(files()).toHaveLength(2);
    for (const server of [...servers, ...servers]) await server.stop();
    expect(files()).toEqual([]);
    expect(readdirSync('/media').filter((file) => /^(nginx|redis|postgresql|dns)-\d/.test(file))).toEqual([]);
  });
});
