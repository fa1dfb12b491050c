/** Programs of others connect to services, by virtual IP and by name, and none of them has been told of Serval. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServalServiceSpec } from '@serval/api';
import { setTimeout as delay } from 'node:timers/promises';
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
  startLoop,
  startNginx,
  startNginxProxy,
  startPostgres,
  startRedis,
  startRedisCluster,
  startWho,
  type Server,
  type Told,
} from '../clients/index.js';
import { Fleet, LabService } from '../fleet/index.js';
import { auditRecording, createLab, type Lab, type Pod, type Recorder } from '../lab/index.js';

const domain = 'shop.svc.cluster.local';
/** Ports of the replicas; services have the usual ones. */
const ports = { web: 8080, who: 7001, cache: 16_379, db: 15_432, dns: 1053, node: 6400 } as const;

interface Declared {
  name: string;
  v4: string;
  v6: string;
  dns: string;
}

const declared: Declared[] = [];
const named = (name: string): Declared => {
  const number = declared.length + 10;
  const one = { name, v4: `10.96.0.${number}`, v6: `fd96::${number}`, dns: `${name}.${domain}` };
  declared.push(one);
  return one;
};
const [dns, web, who, cache, db] = ['dns', 'web', 'who', 'cache', 'db'].map(named) as [
  Declared,
  Declared,
  Declared,
  Declared,
  Declared,
];
const nodes = ['node-a', 'node-b', 'node-c'].map(named);

describe('real clients of services', () => {
  let lab: Lab;
  let fleet: Fleet;
  let client: Pod;
  let proxy: Pod;
  /** one on the client's host, two on the other one */
  let replicas: Pod[];
  let caches: Server[];
  let recorder: Recorder | undefined;
  const started: Server[] = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 2 });
    fleet = await Fleet.start(lab);
    const places = { a: 's1-h1', b: 's2-h1', c: 's2-h1', client: 's1-h1', proxy: 's1-h1' };
    const pods = new Map<string, Pod>();
    for (const [name, host] of Object.entries(places)) {
      const pod = await lab.createPod({ name, host });
      pods.set(name, pod);
      await fleet.declare(pod, `shop/${name}`);
    }
    replicas = ['a', 'b', 'c'].map((name) => pods.get(name) as Pod);
    [client, proxy] = [pods.get('client') as Pod, pods.get('proxy') as Pod];
    const records = Object.fromEntries(declared.map(({ dns: name, v4, v6 }) => [name, [v4, v6]]));
    const each = <Started>(start: (pod: Pod) => Promise<Started>): Promise<Started[]> =>
      Promise.all(replicas.map(start));
    await Promise.all([
      each((pod) => startNginx(pod, ports.web)),
      each((pod) => startWho(pod, ports.who)),
      each((pod) => startPostgres(pod, ports.db)),
      each((pod) => startDns(pod, { port: ports.dns, records })),
      startRedisCluster(replicas, ports.node, { names: nodes.map(({ dns: name }) => name) }),
    ]);
    caches = await each((pod) => startRedis(pod, ports.cache));
    const both = (port: number): ServalServiceSpec['ports'] => [
      { name: 'tcp', port, protocol: 'TCP' },
      { name: 'udp', port, protocol: 'UDP' },
    ];
    await Promise.all([
      declare(dns, both(53), ports.dns),
      declare(web, [{ port: 80 }], ports.web),
      declare(who, both(7000), ports.who),
      declare(cache, [{ port: 6379 }], ports.cache),
      declare(db, [{ port: 5432 }], ports.db),
      ...nodes.map((node, i) => declare(node, [{ port: ports.node }], ports.node, replicas.slice(i, i + 1))),
    ]);
    for (const pod of [client, proxy]) await resolveBy(pod, { servers: [dns.v4], search: [domain] });
    recorder = await lab.recordFabric();
  }, 60_000);

  afterEach(async () => {
    await Promise.all(started.splice(0).map((one) => one.stop()));
  });

  afterAll(async () => {
    await recorder?.stop().catch(() => undefined);
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  /** Resolves when clients get it. */
  const declare = async (
    { name, v4, v6 }: Declared,
    at: ServalServiceSpec['ports'],
    target: number,
    pods: readonly Pod[] = replicas,
  ): Promise<void> => {
    const everywhere = { locality: 'Ignore', balance: 'RoundRobin' } as const;
    const spec = { virtualIPs: [v4, v6], ports: at, ...everywhere };
    new LabService(fleet, `shop/${name}`, spec, target).set(pods.map((pod) => ({ pod })));
    await Promise.all([v4, v6].map((address) => served(address, at[0]?.port ?? 0)));
  };

  /** Resolves when a connection is established. */
  const served = async (address: string, port: number): Promise<void> => {
    for (const end = performance.now() + 10_000; performance.now() < end; await delay(20)) {
      const [row] = await startLoop(client, address, port, { count: 1, timeoutMs: 200 }).finished();
      if (row?.error?.startsWith('connect') !== true) return;
    }
    throw new Error(`nobody listens at ${address} port ${port}`);
  };

  const keep = async (start: Promise<Server>): Promise<void> => void started.push(await start);

  /** All of them answered, and nobody else; `peers` is what the client may believe to have met. */
  const expectAll = ({ answers, counts }: Told, count: number, ...peers: string[]): void => {
    expect(Object.keys(counts).sort()).toEqual(['a', 'b', 'c']);
    expect(answers).toHaveLength(count);
    if (peers.length > 0) for (const { peer } of answers) expect(peers).toContain(peer);
  };

  /** By each of its addresses, and by its name: where to go, and what getpeername() may say. */
  const ways = (
    { v4, v6, dns: name }: Declared,
    port: number,
  ): Array<readonly [string, readonly string[]]> => [
    [v4, [hostPort(v4, port)]],
    [v6, [hostPort(v6, port)]],
    [mappedAddress(v4), [hostPort(mappedAddress(v4), port)]],
    [name, [hostPort(v4, port), hostPort(v6, port)]],
  ];

  it('curl', async () => {
    for (const [host, peers] of ways(web, 80))
      expectAll(await curl(client, host, 80, { count: 6 }), 6, ...peers);
    expectAll(await curl(client, 'web', 80, { count: 6 }), 6);
  }, 20_000);

  it('Go, static and with its own resolver: TCP, UDP and HTTP', async () => {
    for (const protocol of ['tcp', 'udp', 'http'] as const)
      for (const [host, peers] of ways(who, 7000)) {
        if (host.startsWith('::ffff:')) continue; // Go takes it for the IPv4 address that it is
        expectAll(await goClient(client, host, 7000, { count: 6, protocol }), 6, ...peers);
      }
    for (const protocol of ['tcp4', 'tcp6', 'udp4', 'udp6'] as const) {
      const peer = hostPort(protocol.endsWith('4') ? who.v4 : who.v6, 7000);
      expectAll(await goClient(client, who.dns, 7000, { count: 6, protocol }), 6, peer);
    }
  }, 20_000);

  it.each(javaWays)(
    'Java: %s',
    async (way) => {
      for (const host of [who.v4, who.v6, who.dns]) {
        const peers = host === who.dns ? [who.v4, who.v6] : [host];
        // A socket that is not connected draws its replica: twelve that all draw the same are one in 177,147.
        const met = await javaClient(client, host, 7000, { count: 12, way });
        expect(['a', 'b', 'c']).toEqual(expect.arrayContaining(Object.keys(met.counts)));
        expect(Object.keys(met.counts).length).toBeGreaterThan(1);
        expect(met.answers).toHaveLength(12);
        if (way === 'http') continue; // it does not tell
        for (const { peer } of met.answers) expect(peers.map((each) => hostPort(each, 7000))).toContain(peer);
      }
    },
    20_000,
  );

  it('nginx as a client, by addresses, by libc and by its own resolver', async () => {
    const upstreams = [
      { host: web.v4, port: 80 },
      { host: web.v6, port: 80 },
      { host: web.dns, port: 80 },
      { host: web.dns, port: 80, resolver: dns.v4 },
      { host: web.dns, port: 80, resolver: dns.v6 },
    ];
    for (const [index, upstream] of upstreams.entries()) {
      await keep(startNginxProxy(proxy, 8080 + index, upstream));
      const told = await curl(client, proxy.address4, 8080 + index, { count: 6 });
      expectAll(told, 6);
      for (const { seen = '' } of told.answers)
        expect([proxy.address4, proxy.address6]).toContain(seen.replace(/:\d+$/, ''));
    }
  }, 20_000);

  it('redis-cli, with pipelines', async () => {
    for (const [host] of ways(cache, 6379)) expectAll(await redisAsk(client, host, 6379, { count: 6 }), 6);
    const options = { connections: 6, commands: 2000 };
    expect(await redisPipeline(client, cache.v4, 6379, options)).toEqual({ replies: 12_000, errors: 0 });
    expect(await redisPipeline(client, cache.dns, 6379, options)).toEqual({ replies: 12_000, errors: 0 });
    const had = await Promise.all(caches.map((server) => pipelinedAt(server, ports.cache)));
    // In turn: each has had as many pipelines as any other.
    expect(had).toEqual([8000, 8000, 8000]);
  }, 20_000);

  it('a Redis cluster with a service for each node, which sends its clients to their names', async () => {
    const entry = nodes[1] as Declared;
    for (const host of [entry.v4, entry.v6, entry.dns]) {
      const { counts, answers } = await redisClusterAsk(client, host, ports.node, { nodes: 3, count: 3 });
      expect(counts).toEqual({ a: 3, b: 3, c: 3 });
      const names = nodes.map((node) => hostPort(node.dns, ports.node));
      for (const { peer } of answers) expect([...names, hostPort(host, ports.node)]).toContain(peer);
    }
    const sent = await redisClusterPipelines(client, entry.v4, ports.node, { commands: 2000 });
    expect(sent).toEqual(nodes.map(({ dns: host }) => ({ host, replies: 2000, errors: 0 })));
  }, 20_000);

  it('psql', async () => {
    for (const [host] of ways(db, 5432)) expectAll(await psql(client, host, 5432, { count: 6 }), 6);
  }, 20_000);

  it('dig, over UDP and TCP', async () => {
    for (const host of [dns.v4, dns.v6]) {
      for (const tcp of [false, true]) expectAll(await dig(client, host, 53, { count: 6, tcp }), 6);
      expect(await digAddresses(client, host, web.dns)).toEqual([web.v4]);
      expect(await digAddresses(client, host, web.dns, { type: 'AAAA' })).toEqual([web.v6]);
    }
  }, 20_000);

  it.each(['v4', 'v6'] as const)(
    'dnsmasq, which asks by sockets that are not connected (%s)',
    async (family) => {
      const upstreams = [{ address: dns[family], port: 53 }];
      await keep(startDns(proxy, { port: 5300, upstreams }));
      // It takes an answer from nobody but whom it has asked; each question has a socket, and that draws its replica.
      const { answers, counts } = await dig(client, proxy.address4, 5300, { count: 24 });
      expect(answers).toHaveLength(24);
      expect(['a', 'b', 'c']).toEqual(expect.arrayContaining(Object.keys(counts)));
      expect(Object.keys(counts).length).toBeGreaterThan(1);
      expect(await digAddresses(client, proxy.address6, web.dns, { port: 5300 })).toEqual([web.v4]);
    },
    20_000,
  );

  it('put no virtual IP on the wire, and nothing around their packets', async () => {
    const recording = await (recorder as Recorder).stop();
    expect(auditRecording(recording, lab.assignments)).toEqual([]);
    const virtual = new Set(declared.flatMap(({ v4, v6 }) => [v4, v6]));
    const seen = recording.packets.filter(
      ({ source = '', destination = '' }) => virtual.has(source) || virtual.has(destination),
    );
    expect(seen).toEqual([]);
    // They went straight to those who are elsewhere, from those who asked.
    for (const pod of replicas.slice(1))
      for (const address of [pod.address4, pod.address6])
        expect(
          recording.packets.filter(
            ({ source = '', destination }) =>
              destination === address && [client.address4, client.address6].includes(source),
          ).length,
        ).toBeGreaterThan(100);
  }, 20_000);
});
