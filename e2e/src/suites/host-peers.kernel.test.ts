/**
 * A host's own processes as peers: their flows to a pod that moves between hosts, to their own host, away from it. The
 * packets' route was chosen for OLD; reverse path filters are strict everywhere.
 *
 *   site 1: 10.1.1.0/24 behind cni0 of s1-h1, OLD among them     site 2: NEW, behind cni0 of s2-h1     site 3: s3-h1
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  detour,
  EbpfDatapath,
  endDetour,
  prepareStack,
  type FlowRule,
  type FlowTuple,
} from '@serval/node-agent';
import { createLab, type Host, type Lab, type Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { Sockets, type SocketAddress } from './sockets.js';

beforeAll(() => requireRoot());
jest.setTimeout(60_000);

type Family = 4 | 6;
type Protocol = 'tcp' | 'udp';

const oldIndex = 201;
const old = { 4: `10.1.1.${oldIndex}`, 6: `fd00:1:1::${oldIndex}` } as const;
const size = 1_000_000;
let port = 42_000;
let flowId = 0n;

/** Where the process is, seen from the pod that moves from site 1 to site 2. */
const places = [
  { name: 'the host that the pod comes to', at: 's2-h1', local: 'uplink' },
  { name: 'the host that the pod leaves', at: 's1-h1', local: 'gateway' },
  { name: 'a third host', at: 's3-h1', local: 'uplink' },
] as const;

const hostPod = 'host/processes';
const serverPod = 'suite/server';

interface Ends {
  client: { sockets: Sockets; handle: number };
  server: { sockets: Sockets; handle: number };
}

describe.each(['tcx', 'clsact'] as const)('flows of host processes, attached by %s', (attach) => {
  let lab: Lab;
  let server: Pod;
  let atServer: Sockets;
  const datapaths = new Map<string, EbpfDatapath>();
  const onHosts = new Map<string, Sockets>();

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    server = await lab.createPod({ name: 'server', host: 's2-h1' });
    await prepareStack(server.netns, [old[4], old[6]]);
    for (const host of lab.hosts) {
      const bpffs = await lab.mount('bpf', `bpf-${host.name}`);
      const datapath = await EbpfDatapath.open({ bpffs, slots: 1024, attach });
      await datapath.addPod({ name: hostPod, netns: host.netns, interfaces: ['eth0', 'cni0'] });
      datapaths.set(host.name, datapath);
      onHosts.set(host.name, Sockets.start(host));
    }
    await on('s2-h1').addPod({ name: serverPod, netns: server.netns, interfaces: ['eth0'] });
    atServer = Sockets.start(server);
  });

  afterAll(async () => {
    try {
      await Promise.allSettled([atServer?.end(), ...[...onHosts.values()].map((sockets) => sockets.end())]);
      for (const datapath of datapaths.values()) await datapath.uninstall();
    } finally {
      lab?.remove();
    }
  });

  const on = (host: string): EbpfDatapath => datapaths.get(host) as EbpfDatapath;
  const socketsOn = (host: string): Sockets => onHosts.get(host) as Sockets;
  const addressOf = (pod: Pod, family: Family): string => (family === 4 ? pod.address4 : pod.address6);
  const localOf = (host: Host, family: Family, which: 'uplink' | 'gateway'): string => {
    const { plan } = host;
    if (which === 'gateway') return family === 4 ? plan.gateway4 : plan.gateway6;
    return family === 4 ? host.address4 : host.address6;
  };

  /** Rules at both ends of a flow from this local end to OLD; returns its identity at the client. */
  async function translate(host: string, protocol: Protocol, local: string): Promise<FlowTuple> {
    const family = local.includes(':') ? 6 : 4;
    const ends = { local: { address: local, port: ++port }, remote: { address: old[family], port: ++port } };
    const wire = { local: ends.local, remote: { ...ends.remote, address: addressOf(server, family) } };
    const rule = { migration: 1n, protocol, state: 'active' as const };
    const mirror = ({ local: near, remote: far }: FlowTuple): FlowTuple => ({ local: far, remote: near });
    const atPeer: FlowRule = { ...rule, flowId: ++flowId, identity: ends, wire, reroute: true };
    const atPod: FlowRule = { ...rule, flowId: ++flowId, identity: mirror(ends), wire: mirror(wire) };
    await on('s2-h1').apply(serverPod, [atPod]);
    await on(host).apply(hostPod, [atPeer]);
    return ends;
  }

  const asAddress = ({ address, port: number }: FlowTuple['local']): SocketAddress => [address, number];

  /** Sockets of both ends, connected. */
  async function connect(client: Sockets, far: Sockets, protocol: Protocol, tuple: FlowTuple): Promise<Ends> {
    const family = tuple.local.address.includes(':') ? 6 : 4;
    const [local, remote] = [asAddress(tuple.local), asAddress(tuple.remote)];
    const kind = { kind: protocol, family } as const;
    if (protocol === 'udp') {
      const { handle } = await far.do('open', { ...kind, local: remote, remote: local });
      const near = await client.do('open', { ...kind, local, remote });
      return { client: { sockets: client, handle: near.handle }, server: { sockets: far, handle } };
    }
    const listener = await far.do('open', { ...kind, local: remote, listen: true });
    const accepted = far.do('accept', { handle: listener.handle });
    const near = await client.do('open', { ...kind, local, remote });
    const { handle } = await accepted;
    await far.do('close', { handle: listener.handle });
    return { client: { sockets: client, handle: near.handle }, server: { sockets: far, handle } };
  }

  /** Bytes both ways arrive as they were sent. */
  async function works({ client, server: far }: Ends, protocol: Protocol): Promise<void> {
    if (protocol === 'tcp') {
      const [up, down] = await Promise.all([
        client.sockets.do('exchange', { handle: client.handle, size, seed: 1 }),
        far.sockets.do('exchange', { handle: far.handle, size, seed: 2 }),
      ]);
      expect([up.received, down.received, up.missing + down.missing]).toEqual([down.sent, up.sent, 0]);
      return;
    }
    for (const length of [1, 1_400, 8_001])
      for (const [from, to] of [
        [client, far],
        [far, client],
      ] as const) {
        const { digest } = await from.sockets.do('send', { handle: from.handle, seed: length, size: length });
        expect((await to.sockets.do('receive', { handle: to.handle })).digest).toBe(digest);
      }
  }

  async function close({ client, server: far }: Ends): Promise<void> {
    for (const { sockets, handle } of [client, far]) await sockets.do('close', { handle });
  }

  async function release(host: string): Promise<void> {
    await on(host).remove(hostPod, {});
    await on('s2-h1').remove(serverPod, {});
  }

  describe.each(places)('of $name', ({ at, local }) => {
    describe.each([4, 6] as const)('over IPv%i', (family) => {
      it.each(['tcp', 'udp'] as const)('go on: %s', async (protocol) => {
        const host = lab.host(at);
        const isDetoured = await detour(host.netns, old[family], addressOf(server, family));
        expect(isDetoured).toBe(at === 's1-h1');
        const tuple = await translate(at, protocol, localOf(host, family, local));
        const begun = performance.now();
        const ends = await connect(socketsOn(at), atServer, protocol, tuple);
        expect(performance.now() - begun).toBeLessThan(950); // the kernel would send a lost SYN again after a second
        await works(ends, protocol);
        await close(ends);
        await release(at);
        await endDetour(host.netns, old[family]);
        expect((await on(at).pods()).find(({ name }) => name === hostPod)?.attached).toBe(false);
      });

      it('leave the way of others alone', async () => {
        const host = lab.host(at);
        await detour(host.netns, old[family], addressOf(server, family));
        const tuple = await translate(at, 'tcp', localOf(host, family, local));
        const moved = await connect(socketsOn(at), atServer, 'tcp', tuple);
        // The host's own flow to the pod under its own address, from the same local end.
        const far = { address: addressOf(server, family), port: ++port };
        const near = { address: localOf(host, family, 'uplink'), port: ++port };
        const plain = await connect(socketsOn(at), atServer, 'tcp', { local: near, remote: far });
        // A pod's, forwarded over the same devices.
        const pod = await lab.createPod({ name: `bystander-${++port}`, host: at });
        const inPod = Sockets.start(pod);
        const own = { address: addressOf(pod, family), port: ++port };
        const forwarded = await connect(inPod, atServer, 'tcp', {
          local: own,
          remote: { ...far, port: ++port },
        });
        for (const ends of [moved, plain, forwarded]) await works(ends, 'tcp');
        await inPod.end();
        await pod.remove();
        for (const ends of [moved, plain]) await close(ends);
        await release(at);
        await endDetour(host.netns, old[family]);
      });

      it("don't touch the one who has OLD now", async () => {
        const host = lab.host(at);
        const owner = await lab.createPod({ name: `owner-${++port}`, host: 's1-h1', index: oldIndex });
        const atOwner = Sockets.start(owner);
        const tuple = await translate(at, 'tcp', localOf(host, family, local));
        const moved = await connect(socketsOn(at), atServer, 'tcp', tuple);
        const toOwner = await connect(socketsOn(at), atOwner, 'tcp', {
          local: { ...tuple.local, port: ++port },
          remote: tuple.remote,
        });
        for (const ends of [moved, toOwner]) await works(ends, 'tcp');
        await atOwner.end();
        await owner.remove();
        await close(moved);
        await release(at);
      });
    });
  });

  it.each([4, 6] as const)(
    'pass the reverse path filters of nftables, as CNIs have them: IPv%i',
    async (family) => {
      const host = lab.host('s2-h1');
      const filter = `table inet reverse { chain pre { type filter hook prerouting priority -300;
      fib saddr . iif oif missing counter drop; }; }`;
      await host.run('nft', ['-f', '-'], { input: filter });
      const tuple = await translate('s2-h1', 'tcp', localOf(host, family, 'uplink'));
      const ends = await connect(socketsOn('s2-h1'), atServer, 'tcp', tuple);
      await works(ends, 'tcp');
      expect(await host.run('nft', ['list', 'table', 'inet', 'reverse'])).toMatch(/packets 0 bytes 0/);
      await host.run('nft', ['delete', 'table', 'inet', 'reverse']);
      await close(ends);
      await release('s2-h1');
    },
  );

  it('counts both ways of a rerouted flow, and tells that it is one', async () => {
    const host = lab.host('s2-h1');
    const tuple = await translate('s2-h1', 'udp', localOf(host, 4, 'uplink'));
    const ends = await connect(socketsOn('s2-h1'), atServer, 'udp', tuple);
    await works(ends, 'udp');
    const [flow] = await on('s2-h1').flows(hostPod);
    expect(flow).toMatchObject({ reroute: true, identity: tuple });
    // 1 and 1,400 bytes in one packet each, 8,001 in six.
    expect([flow?.packetsOut, flow?.packetsIn]).toEqual([8n, 8n]);
    await close(ends);
    await release('s2-h1');
  });

  it('goes directly from a pod to NEW on its own segment, where its route to OLD led over the gateway', async () => {
    const pod = await lab.createPod({ name: 'neighbour', host: 's2-h1' });
    const datapath = on('s2-h1');
    await datapath.addPod({ name: 'suite/neighbour', netns: pod.netns, interfaces: ['eth0'] });
    const sockets = Sockets.start(pod);
    const neighbours = async (): Promise<string> => pod.run('ip', ['neigh', 'show', 'dev', 'eth0']);
    expect(await neighbours()).not.toContain(server.address4);
    const local = { address: pod.address4, port: ++port };
    const identity = { local, remote: { address: old[4], port: ++port } };
    const wire = { local, remote: { ...identity.remote, address: server.address4 } };
    const rule = { migration: 1n, protocol: 'tcp', state: 'active' } as const;
    await datapath.apply('suite/neighbour', [{ ...rule, flowId: ++flowId, identity, wire, reroute: true }]);
    await datapath.apply(serverPod, [
      {
        ...rule,
        flowId: ++flowId,
        identity: { local: identity.remote, remote: local },
        wire: { local: wire.remote, remote: local },
      },
    ]);
    const before = await forwarded();
    const ends = await connect(sockets, atServer, 'tcp', identity);
    await works(ends, 'tcp');
    expect(await neighbours()).toContain(server.address4);
    // The gateway has forwarded next to nothing of some 1,400 packets.
    expect((await forwarded()) - before).toBeLessThan(20);
    await sockets.end();
    await datapath.remove(serverPod, {});
    await datapath.removePod('suite/neighbour');
  });

  /** IPv4 packets that s2-h1 has forwarded. */
  async function forwarded(): Promise<number> {
    const text = await lab.host('s2-h1').run('cat', ['/proc/net/snmp']);
    const [names, values] = text
      .split('\n')
      .filter((line) => line.startsWith('Ip: '))
      .map((line) => line.split(' '));
    return Number(values?.[names?.indexOf('ForwDatagrams') ?? -1]);
  }
});
