import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { auditRecording, type Recording } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { MovedPair, MovedWorld, type Family, type PairFlow, type PairRules } from './moved-pair.js';
import { Sockets, type SocketOption } from './sockets.js';

/* Real sockets over the real stack to a server that has moved. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(60_000);

const megabyte = 1_000_000;
/** As in linux/socket.h, linux/udp.h, linux/in.h and linux/in6.h. */
const noCheck: SocketOption = [1, 11, 1];
const noCheck6: SocketOption[] = [
  [17, 101, 1],
  [17, 102, 1],
];
const udpSegment = (size: number): SocketOption => [17, 103, size];
const udpGro: SocketOption = [17, 104, 1];

let port = 20_000;
const nextPorts = () => ({ clientPort: ++port, serverPort: ++port, wireServerPort: ++port });

/** Ends of every TCP and UDP packet of a recording, each once. */
function endsOf(recording: Recording): Set<string> {
  const packets = recording.packets.filter(({ protocol }) => protocol === 'tcp' || protocol === 'udp');
  return new Set(
    packets
      .flatMap((packet) => [
        `${packet.source} ${packet.sourcePort}`,
        `${packet.destination} ${packet.destinationPort}`,
      ])
      .filter((end) => !end.endsWith('undefined')), // later fragments show addresses alone
  );
}

function wireEnds(rules: PairRules): Set<string> {
  const { local, remote } = rules.atClient.wire;
  return new Set([`${local.address} ${local.port}`, `${remote.address} ${remote.port}`]);
}

/** Bytes both ways at once through a new connection; every byte is checked at its far end. */
async function transfer(pair: MovedPair, flow: PairFlow, size: number): Promise<void> {
  const { client, server } = await pair.connect(flow);
  expect(client.local).toEqual([pair.clientAddress(flow.family), flow.clientPort]);
  expect(server.local).toEqual([pair.old(flow.family), flow.serverPort]);
  expect(server.peer).toEqual(client.local);
  expect(await pair.exchange(client.handle, server.handle, size)).toEqual({ intact: true, bytes: size });
  await pair.atClient.do('close', { handle: client.handle });
  await pair.atServer.do('close', { handle: server.handle });
}

const ways = [
  { way: 'by TCX with direct writes', options: {} },
  { way: 'by clsact with helpers, as before Linux 6.2', options: { attach: 'clsact', kernelContext: false } },
] as const;

describe.each(ways)('translation of real traffic $way', ({ options }) => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build(options);
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  describe.each([4, 6] as const)('over IPv%i', (family) => {
    it('carries 100 MB of TCP each way with offloads; the network sees wire addresses and ports alone', async () => {
      const flow: PairFlow = { protocol: 'tcp', family, ...nextPorts() };
      const rules = await pair.translate(flow);
      const recorder = await world.lab.recordFabric({ buffer: 32_768 });
      await transfer(pair, flow, 100 * megabyte);
      const recording = await recorder.stop();

      expect(auditRecording(recording, world.lab.assignments)).toEqual([]);
      expect(endsOf(recording)).toEqual(wireEnds(rules));
      const { atClient, atServer } = await pair.counters(rules);
      for (const { packetsIn, packetsOut, bytesIn, bytesOut } of [atClient, atServer]) {
        for (const bytes of [bytesIn, bytesOut]) {
          expect(Number(bytes)).toBeGreaterThan(100 * megabyte);
          expect(Number(bytes)).toBeLessThan(130 * megabyte);
        }
        // A packet that the device is to cut counts as one: there are fewer than there are segments.
        expect(Number(packetsOut)).toBeGreaterThan(100 * (megabyte / 65_536));
        expect(Number(packetsOut)).toBeLessThan(Number(bytesOut) / 1_448);
        expect(Number(packetsIn)).toBeGreaterThan(100 * (megabyte / 65_536));
        expect(Number(packetsIn)).toBeLessThan(Number(bytesIn) / 1_448);
      }
    });

    it.each([
      { how: 'without offloads: whole checksums, one segment a packet', gro: false },
      { how: 'without offloads, put together again by GRO', gro: true },
    ])('carries TCP $how', async ({ gro }) => {
      const plain = await world.pair();
      await plain.turnOffOffloads(gro);
      const flow: PairFlow = { protocol: 'tcp', family, ...nextPorts() };
      const rules = await plain.translate(flow);
      await transfer(plain, flow, 10 * megabyte);
      const { bytesIn, packetsIn } = (await plain.counters(rules)).atServer;
      if (gro) expect(Number(packetsIn)).toBeLessThan(Number(bytesIn) / 1_448);
      else expect(Number(packetsIn)).toBeGreaterThanOrEqual((10 * megabyte) / 1_448);
    });

    it('carries UDP: small, up to the MTU, and in fragments, which arrive put together', async () => {
      const flow: PairFlow = { protocol: 'udp', family, ...nextPorts() };
      const rules = await pair.translate(flow);
      const { client, server } = await pair.datagrams(flow);
      const recorder = await world.lab.recordFabric();
      for (const size of [0, 1, 100, 1452, 1472, 1473, 8_000, 60_000])
        expect(await pair.roundTrip(client, server, size)).toEqual({ there: true, back: true });
      const recording = await recorder.stop();

      expect(auditRecording(recording, world.lab.assignments)).toEqual([]);
      expect(endsOf(recording)).toEqual(wireEnds(rules));
      const later = recording.packets.filter(({ fragmentOffset }) => fragmentOffset > 0);
      expect(later.length).toBeGreaterThan(2 * (60_000 / 1_480 - 1));
      expect(new Set(later.flatMap(({ source, destination }) => [source, destination]))).toEqual(
        new Set([pair.clientAddress(family), pair.new(family)]),
      );
    });

    it('carries UDP without checksums, whole and in fragments, and makes none up', async () => {
      const flow: PairFlow = { protocol: 'udp', family, ...nextPorts() };
      await pair.translate(flow);
      const raw = await pair.atServer.do('open', { kind: 'raw', family, protocol: 17 });
      const { client, server } = await pair.datagrams(flow, family === 4 ? [noCheck] : noCheck6);
      for (const size of [1, 1_400, 8_000])
        expect(await pair.roundTrip(client, server, size)).toEqual({ there: true, back: true });
      const seen = await pair.atServer.do('receive', { handle: raw.handle });
      const udp = Buffer.from(seen.head, 'hex').subarray(family === 4 ? 20 : 0);
      expect(udp.readUInt16BE(0)).toBe(flow.clientPort);
      expect(udp.readUInt16BE(2)).toBe(flow.serverPort);
      expect(udp.readUInt16BE(6)).toBe(0);
    });

    it('carries UDP of many datagrams a packet (UDP_SEGMENT), with and without UDP_GRO', async () => {
      const flow: PairFlow = { protocol: 'udp', family, ...nextPorts() };
      const rules = await pair.translate(flow);
      const { client, server } = await pair.datagrams(flow);
      const [level, name, value] = udpSegment(1_000);
      await pair.atClient.do('option', { handle: client, level, name, value });
      await pair.atClient.do('send', { handle: client, seed: 1, size: 20_500 });
      const sizes = [];
      for (let count = 0; count < 21; count++)
        sizes.push((await pair.atServer.do('receive', { handle: server })).size);
      expect(sizes).toEqual([...new Array<number>(20).fill(1_000), 500]);
      expect((await pair.counters(rules)).atClient.packetsOut).toBe(1n);

      await pair.atServer.do('option', {
        handle: server,
        level: udpGro[0],
        name: udpGro[1],
        value: udpGro[2],
      });
      const { digest } = await pair.atClient.do('send', { handle: client, seed: 2, size: 20_500 });
      expect(await pair.atServer.do('receive', { handle: server })).toMatchObject({ size: 20_500, digest });
    });
  });
});

describe('what else an IP header may carry', () => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build();
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  /** One datagram each way whose headers carry something; returns what the server's socket was told of it. */
  async function withOptions(family: Family, options: SocketOption[], told: SocketOption[], size: number) {
    const flow: PairFlow = { protocol: 'udp', family, ...nextPorts() };
    await pair.translate(flow);
    const { client, server } = await pair.datagrams(flow, [...options, ...told]);
    const there = await pair.atClient.do('send', { handle: client, seed: 1, size });
    const arrived = await pair.atServer.do('receive', { handle: server });
    expect(arrived).toMatchObject({
      digest: there.digest,
      from: [pair.clientAddress(family), flow.clientPort],
    });
    const back = await pair.atServer.do('send', { handle: server, seed: 2, size });
    const returned = await pair.atClient.do('receive', { handle: client });
    expect(returned).toMatchObject({ digest: back.digest, from: [pair.old(family), flow.serverPort] });
    return arrived.ancillary;
  }

  const recordRoute = `072704${'00'.repeat(36)}00`;
  const padding = '0000010400000000'; // next header, length, PadN of 4

  it.each([100, 4_000])('translates IPv4 datagrams of %i bytes with a recorded route', async (size) => {
    const told = await withOptions(4, [[0, 4, recordRoute]], [[0, 6, 1]], size);
    expect(told).toEqual([[0, 6, expect.stringMatching(/^0727/)]]);
    // The client itself, the routers, the server: the last address is the one that the server believes it has.
    const recorded = Buffer.from((told[0] as [number, number, string])[2], 'hex');
    const addresses = Array.from({ length: (recorded[2] as number) / 4 - 1 }, (_, i) =>
      recorded.subarray(3 + 4 * i, 7 + 4 * i).join('.'),
    );
    expect(addresses[0]).toBe(pair.clientAddress(4));
    expect(addresses).toContain('172.16.3.2'); // site 3's router, towards the core
    expect(addresses.at(-1)).toBe(pair.old(4));
  });

  it.each([
    { header: 'destination options', option: 59, tells: 58, size: 100 },
    { header: 'destination options', option: 59, tells: 58, size: 4_000 },
    { header: 'hop-by-hop options', option: 54, tells: 53, size: 100 },
    { header: 'hop-by-hop options', option: 54, tells: 53, size: 4_000 },
  ])('translates IPv6 datagrams of $size bytes with $header', async ({ option, tells, size }) => {
    expect(await withOptions(6, [[41, option, padding]], [[41, tells, 1]], size)).toEqual([
      [41, option, expect.stringContaining('0104')],
    ]);
  });

  it('gives up, and counts, what the checksum of which covers another address: segment routing', async () => {
    const flow: PairFlow = { protocol: 'udp', family: 6, ...nextPorts() };
    await pair.translate(flow);
    const { client, server } = await pair.datagrams(flow);
    const hex = (address: string) =>
      address
        .replace('::', ':0:0:0:0:')
        .split(':')
        .map((group) => group.padStart(4, '0'))
        .join('');
    // Two segments; the first to be visited is the last of the list.
    const old = hex(pair.old(6));
    const segments = `0004040101000000${old}${old}`;
    const dropped = async () => (await world.datapathOf(pair.client).drops()).SOURCE_ROUTED.packets;
    const before = await dropped();
    await pair.atClient.do('option', { handle: client, level: 41, name: 57, value: segments });
    await pair.atClient.do('send', { handle: client, seed: 1, size: 100 }).catch(() => undefined);
    await expect(pair.atServer.do('receive', { handle: server, timeout: 0.2 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    expect(await dropped()).toBe(before + 1n);
  });
});

describe('exactness', () => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build();
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  it.each([4, 6] as const)(
    "leaves alone what the client has with OLD's new owner on the same server port, over IPv%i",
    async (family) => {
      const flow: PairFlow = { protocol: 'tcp', family, clientPort: ++port, serverPort: ++port };
      const rules = await pair.translate(flow);
      const moved = await pair.connect(flow);
      const name = `owner-${family}`;
      const owner = await world.lab.createPod({ name, host: 's1-h1', address4: pair.old(4) });
      const atOwner = Sockets.start(owner);
      const before = await pair.counters(rules);

      const local: [string, number] = [pair.old(family), flow.serverPort];
      const listener = await atOwner.do('open', { kind: 'tcp', family, local, listen: true });
      const accepted = atOwner.do('accept', { handle: listener.handle });
      const client = await pair.atClient.do('open', { kind: 'tcp', family, remote: local });
      const server = await accepted;
      expect(client.local[1]).not.toBe(flow.clientPort);
      expect(server.peer).toEqual(client.local);
      const [up, down] = await Promise.all([
        pair.atClient.do('exchange', { handle: client.handle, size: megabyte, seed: 1 }),
        atOwner.do('exchange', { handle: server.handle, size: megabyte, seed: 2 }),
      ]);
      expect(down).toEqual({ sent: up.received, received: up.sent, missing: 0 });
      // The other way round: OLD's new owner connects to the client.
      const back = await pair.atClient.do('open', {
        kind: 'tcp',
        family,
        local: [pair.clientAddress(family), 0],
        listen: true,
      });
      const welcome = pair.atClient.do('accept', { handle: back.handle });
      await atOwner.do('open', { kind: 'tcp', family, remote: back.local });
      expect((await welcome).peer[0]).toBe(pair.old(family));
      expect(await pair.counters(rules)).toEqual(before);

      expect(await pair.exchange(moved.client.handle, moved.server.handle, megabyte)).toEqual({
        intact: true,
        bytes: megabyte,
      });
      await atOwner.end();
      await owner.remove();
    },
  );
});
