import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { packetLine, type Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { MovedWorld, type Family, type MovedPair, type PairFlow } from './moved-pair.js';
import type { SocketOption } from './sockets.js';

/* What the path has to say about a translated flow (ICMP, ICMPv6) reaches the sockets, which know another address. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const megabyte = 1_000_000;
const [ipv4, ipv6] = [0, 41];
/** IP_RECVERR, IPV6_RECVERR: errors are queued with all that is known of them. */
const tellErrors = (family: Family): SocketOption => (family === 4 ? [ipv4, 11, 1] : [ipv6, 25, 1]);
/** IP_TTL, IPV6_UNICAST_HOPS */
const timeToLive = (family: Family, hops: number): SocketOption =>
  family === 4 ? [ipv4, 2, hops] : [ipv6, 16, hops];
/** IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: let the path's MTU alone decide */
const discover = (family: Family): SocketOption => (family === 4 ? [ipv4, 10, 2] : [ipv6, 23, 2]);

let port = 30_000;
const udpFlow = (family: Family): PairFlow => {
  return { protocol: 'udp', family, clientPort: ++port, serverPort: ++port, wireServerPort: ++port };
};

/** What a pod's stack has learnt about the way to an address. */
const routeTo = (pod: Pod, address: string, from?: string) =>
  pod.run('ip', ['route', 'get', address, ...(from === undefined ? [] : ['from', from])]);

describe.each([4, 6] as const)('errors of the path over IPv%i', (family) => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build();
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  /** A connected client socket that tells errors, through a translation; nobody listens at the server. */
  async function asker(options: SocketOption[] = []) {
    const flow = udpFlow(family);
    const rules = await pair.translate(flow);
    const { handle } = await pair.atClient.do('open', {
      kind: 'udp',
      family,
      local: [pair.clientAddress(family), flow.clientPort],
      remote: [pair.old(family), flow.serverPort],
      options: [tellErrors(family), ...options],
    });
    const send = (size: number) => pair.atClient.do('send', { handle, seed: 1, size });
    return { flow, rules, handle, send };
  }

  it('a closed port refuses a connected datagram socket, as if nothing had moved', async () => {
    const flow = udpFlow(family);
    await pair.translate(flow);
    const { handle } = await pair.atClient.do('open', {
      kind: 'udp',
      family,
      local: [pair.clientAddress(family), flow.clientPort],
      remote: [pair.old(family), flow.serverPort],
    });
    const recorder = await world.lab.recordFabric({ filter: 'icmp or icmp6' });
    await pair.atClient.do('send', { handle, seed: 1, size: 100 });
    await expect(pair.atClient.do('receive', { handle })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const { packets } = await recorder.stop();
    const unreachable = packets.filter(({ icmpType }) => icmpType === (family === 4 ? 3 : 1));
    expect(unreachable.map(({ source, destination }) => [source, destination])).toEqual([
      [pair.new(family), pair.clientAddress(family)],
    ]);
  });

  it('a closed port at the client refuses the moved server', async () => {
    const flow = udpFlow(family);
    await pair.translate(flow);
    const { handle } = await pair.atServer.do('open', {
      kind: 'udp',
      family,
      local: [pair.old(family), flow.serverPort],
      remote: [pair.clientAddress(family), flow.clientPort],
    });
    await pair.atServer.do('send', { handle, seed: 1, size: 100 });
    await expect(pair.atServer.do('receive', { handle })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('a closed port refuses a TCP connection', async () => {
    const flow: PairFlow = { ...udpFlow(family), protocol: 'tcp' };
    await pair.translate(flow);
    const connecting = pair.atClient.do('open', {
      kind: 'tcp',
      family,
      local: [pair.clientAddress(family), flow.clientPort],
      remote: [pair.old(family), flow.serverPort],
    });
    await expect(connecting).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('a trace of the path names the routers on the way to NEW, and OLD as its end', async () => {
    const { handle, send, flow } = await asker();
    const offenders = [];
    for (let hops = 1; hops <= 6; hops++) {
      const [level, name, value] = timeToLive(family, hops);
      await pair.atClient.do('option', { handle, level, name, value });
      await send(100);
      const report = await pair.atClient.do('failure', { handle });
      expect(report.destination).toEqual([pair.old(family), flow.serverPort]);
      offenders.push([report.offender, report.error]);
    }
    const path =
      family === 4
        ? ['10.3.1.1', '172.17.3.5', '172.16.3.1', '172.16.2.2', '172.17.2.6', pair.old(4)]
        : ['fd00:3:1::1', 'fd01:3:1::1', 'fd01:3::1', 'fd01:2::2', 'fd01:2:1::2', pair.old(6)];
    expect(offenders).toEqual(
      path.map((address, hop) => [address, hop < 5 ? 'EHOSTUNREACH' : 'ECONNREFUSED']),
    );
  });

  it('a router without a route to NEW says so, and the socket hears it about OLD', async () => {
    const { handle, send, flow } = await asker();
    const route = ['unreachable', `${pair.new(family)}/${family === 4 ? 32 : 128}`];
    await world.lab.core.run('ip', [`-${family}`, 'route', 'add', ...route]);
    try {
      await send(100);
      const report = await pair.atClient.do('failure', { handle });
      expect(report).toMatchObject({
        error: family === 4 ? 'EHOSTUNREACH' : 'ENETUNREACH', // ICMPv6: no route
        type: family === 4 ? 3 : 1,
        offender: family === 4 ? '172.16.3.1' : 'fd01:3::1',
        destination: [pair.old(family), flow.serverPort],
      });
    } finally {
      await world.lab.core.run('ip', [`-${family}`, 'route', 'del', ...route]);
    }
  });

  it('a smaller MTU between the sites is found by both ends, about the addresses that they know', async () => {
    const narrow = await world.pair();
    const s2 = world.lab.sites[1]?.router;
    const setMtu = async (mtu: number) => {
      await world.lab.core.run('ip', ['link', 'set', 's2', 'mtu', String(mtu)]);
      await s2?.run('ip', ['link', 'set', 'core', 'mtu', String(mtu)]);
    };
    const flow: PairFlow = { ...udpFlow(family), protocol: 'tcp' };
    await narrow.translate(flow);
    const { client, server } = await narrow.connect(flow);
    const exchange = async () =>
      expect(await narrow.exchange(client.handle, server.handle, 5 * megabyte)).toEqual({
        intact: true,
        bytes: 5 * megabyte,
      });
    await exchange();
    await setMtu(1300);
    try {
      const recorder = await world.lab.recordFabric();
      const begun = performance.now();
      await exchange();
      expect(performance.now() - begun).toBeLessThan(2000); // no black hole, no probing
      const { packets } = await recorder.stop();
      const carriers = packets.filter(
        ({ protocol, source }) => protocol === 'tcp' && source === narrow.clientAddress(family),
      );
      expect(
        carriers.filter(({ destination }) => destination !== narrow.new(family)).map(packetLine),
      ).toEqual([]);
      expect(await routeTo(narrow.client, narrow.old(family))).toMatch(/ mtu 1300\b/);
      expect(await routeTo(narrow.client, narrow.new(family))).not.toMatch(/ mtu /);
      const source = family === 4 ? narrow.old(4) : undefined;
      expect(await routeTo(narrow.server, narrow.clientAddress(family), source)).toMatch(/ mtu 1300\b/);
    } finally {
      await setMtu(1500);
    }
  });

  it('a datagram that is too long for the path tells its sender how long it may be', async () => {
    const long = await world.pair();
    const flow = udpFlow(family);
    await long.translate(flow);
    const { client, server } = await long.datagrams(flow, [discover(family), tellErrors(family)]);
    await world.lab.core.run('ip', ['link', 'set', 's2', 'mtu', '1300']);
    try {
      await long.atClient.do('send', { handle: client, seed: 1, size: 1_400 });
      expect(await long.atClient.do('failure', { handle: client })).toMatchObject({
        error: 'EMSGSIZE',
        info: 1300,
        destination: [long.old(family), flow.serverPort],
      });
      const fitting = await long.atClient.do('send', { handle: client, seed: 2, size: 1_200 });
      expect(await long.atServer.do('receive', { handle: server })).toMatchObject({
        size: 1_200,
        digest: fitting.digest,
      });
    } finally {
      await world.lab.core.run('ip', ['link', 'set', 's2', 'mtu', '1500']);
    }
  });
});
