import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeptPacket } from '@serval/node-agent';
import { requireRoot } from '../lab/processes.js';
import { MovedWorld, nameOf, type MovedPair, type PairFlow } from './moved-pair.js';
import type { SocketAddress } from './sockets.js';

/* Holds and replays with sockets at work. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

/** How long the client's flow is held, ms. */
const holdMs = 300;
/** Datagrams that are kept for one flow. */
const datagramsKept = 64;

let port = 40_000;

describe.each([4, 6] as const)('hold and replay over IPv%i', (family) => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build();
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  const datapath = () => world.datapathOf(pair.client);
  const client = () => nameOf(pair.client);
  const newFlow = (protocol: 'tcp' | 'udp'): PairFlow => {
    return { protocol, family, clientPort: ++port, serverPort: ++port, wireServerPort: ++port };
  };
  const replay = async () => {
    const kept = await datapath().takeKept(client());
    expect(await datapath().replay(client(), kept)).toMatchObject({ sent: kept.length, refused: [] });
    return kept;
  };

  /** Requests and answers over TCP with a hold among them; how long after the switch the first answer came, ms. */
  async function answerAfterHold(isReplayed: boolean): Promise<number> {
    const flow = newFlow('tcp');
    const rules = await pair.translate(flow);
    const ends = await pair.connect(flow);
    const answering = pair.atServer.do('answer', { handle: ends.server.handle });
    const asking = pair.atClient.do('ask', { handle: ends.client.handle, interval: 0.001 });
    await delay(100);
    await datapath().setState(client(), [rules.atClient], 'held');
    await delay(holdMs);
    const switched = process.hrtime.bigint(); // CLOCK_MONOTONIC, as in the helper
    await datapath().setState(client(), [rules.atClient], 'active');
    if (isReplayed) expect((await replay()).map(({ kind }) => kind)).toContain('segment');
    await delay(isReplayed ? 100 : 1000);
    await pair.atClient.do('stop', { handle: ends.client.handle });
    const log = await asking;
    await pair.atClient.do('close', { handle: ends.client.handle });

    // Every request was answered, once, in order; the server saw each once.
    const numbers = log.map((_, number) => number);
    expect(log.map(([answer]) => answer)).toEqual(numbers);
    expect(await answering).toEqual(numbers);
    const held = log.filter(([, asked, answered]) => answered - asked > (holdMs / 2) * 1e6);
    expect(held).toHaveLength(1);
    const [, , answered] = held[0] as [number, number, number];
    expect(log.length).toBeGreaterThan((held[0]?.[0] ?? 0) + 1); // and it goes on
    return (answered - Number(switched)) / 1e6;
  }

  it('the first answer comes at once with a replay; without one TCP waits for its timer', async () => {
    const withReplay = await answerAfterHold(true);
    const without = await answerAfterHold(false);
    expect(withReplay).toBeGreaterThan(0);
    expect(withReplay).toBeLessThan(100);
    expect(without).toBeGreaterThan(withReplay);
    expect(without).toBeGreaterThan(100); // its second retransmission, 600 ms after the first sending
  });

  it('a stream that is held in full flight is replayed, and arrives whole', async () => {
    const flow = newFlow('tcp');
    const rules = await pair.translate(flow);
    const ends = await pair.connect(flow);
    const size = 200_000_000;
    const sending = pair.atClient.do('exchange', { handle: ends.client.handle, size, seed: 1 });
    const returning = pair.atServer.do('exchange', { handle: ends.server.handle, size, seed: 2 });
    await delay(50);
    const held = async () => (await datapath().drops()).HELD.packets;
    const heldBefore = await held();
    await datapath().setState(client(), [rules.atClient], 'held');
    await delay(holdMs);
    expect(await held()).toBeGreaterThan(heldBefore);
    await datapath().setState(client(), [rules.atClient], 'active');
    const switched = performance.now();
    const before = (await pair.counters(rules)).atServer;
    expect((await replay()).map(({ kind }) => kind)).toContain('segment');
    let now = before;
    while (now.bytesIn <= before.bytesIn || now.bytesOut <= before.bytesOut) {
      await delay(1);
      now = (await pair.counters(rules)).atServer;
    }
    expect(performance.now() - switched).toBeLessThan(100);
    const [up, down] = await Promise.all([sending, returning]);
    expect(down).toEqual({ sent: up.received, received: up.sent, missing: 0 });
  });

  it('a connection opened during the hold is made at the switch', async () => {
    const flow = newFlow('tcp');
    const rules = await pair.translate(flow);
    await datapath().setState(client(), [rules.atClient], 'held');
    const listening: SocketAddress = [pair.old(family), flow.serverPort];
    await pair.atServer.do('open', { kind: 'tcp', family, local: listening, listen: true });
    let isConnected = false;
    const local: SocketAddress = [pair.clientAddress(family), flow.clientPort];
    const connecting = pair.atClient
      .do('open', { kind: 'tcp', family, local, remote: listening })
      .then(() => (isConnected = true));
    await delay(holdMs);
    expect(isConnected).toBe(false);
    await datapath().setState(client(), [rules.atClient], 'active');
    const switched = performance.now();
    await replay();
    await connecting;
    expect(performance.now() - switched).toBeLessThan(350); // the kernel would send its next SYN 700 ms after the switch
  });

  /** An opening segment as another agent sends it on: nothing but the packet. */
  const fromElsewhere = ({ protocol, tuple, packet }: KeptPacket): KeptPacket => {
    const carried = Buffer.from(packet.toString('base64'), 'base64');
    const { local, remote } = tuple;
    const seen = { pod: client(), flowId: 0n, direction: 'egress', kind: 'segment' } as const;
    return { ...seen, protocol, tuple: { local: remote, remote: local }, packet: carried };
  };

  /** Begins to connect; tells when it is connected. */
  function knock(local: SocketAddress, remote: SocketAddress): { done: Promise<number> } {
    const done = pair.atClient
      .do('open', { kind: 'tcp', family, local, remote })
      .then(() => performance.now());
    return { done };
  }

  it('a connection that a quiesced server did not let in is made when its opening segment is sent again', async () => {
    const at = world.datapathOf(pair.server);
    const open: SocketAddress = [pair.new(family), ++port];
    await pair.atServer.do('open', { kind: 'tcp', family, local: open, listen: true });
    const flow = newFlow('tcp');
    await pair.translate(flow, 'server');
    const before = await pair.connect(flow, 'server');
    await at.quiescePod(nameOf(pair.server), true);
    const { done } = knock([pair.clientAddress(family), ++port], open);
    const kept = await until(() => at.takeKept(nameOf(pair.server)));
    expect(kept).toMatchObject([{ direction: 'ingress', flowId: 0n, kind: 'segment' }]);
    // What was established before goes on.
    const { intact } = await pair.exchange(before.client.handle, before.server.handle, 100_000);
    expect(intact).toBe(true);
    await at.quiescePod(nameOf(pair.server), false);
    const sent = performance.now();
    expect(await datapath().replay(client(), kept.map(fromElsewhere))).toEqual({ sent: 1, refused: [] });
    expect((await done) - sent).toBeLessThan(350); // the kernel would send its next SYN a second after the first
  });

  it('an opening segment from elsewhere goes through the programs: to where its flow is now', async () => {
    const flow = newFlow('tcp');
    const [local, old]: SocketAddress[] = [
      [pair.clientAddress(family), flow.clientPort],
      [pair.old(family), flow.serverPort],
    ];
    await pair.atServer.do('open', { kind: 'tcp', family, local: old as SocketAddress, listen: true });
    await datapath().quiescePod(client(), true);
    const { done } = knock(local as SocketAddress, old as SocketAddress);
    const [kept] = await until(() => datapath().takeKept(client()));
    expect(kept).toMatchObject({ direction: 'egress', flowId: 0n, kind: 'segment' });
    await pair.translate(flow);
    await datapath().quiescePod(client(), false);
    const sent = performance.now();
    expect(await datapath().replay(client(), [kept as KeptPacket])).toEqual({ sent: 1, refused: [] });
    expect((await done) - sent).toBeLessThan(350);
  });

  it(`datagrams are kept to a bound of ${datagramsKept}: the oldest go, and are counted`, async () => {
    const flow = newFlow('udp');
    const rules = await pair.translate(flow);
    const ends = await pair.datagrams(flow);
    const before = await datapath().drops();
    await pair.atClient.do('number', { handle: ends.client, first: 0, count: 10 });
    await datapath().setState(client(), [rules.atClient], 'held');
    await pair.atClient.do('number', { handle: ends.client, first: 10, count: 100 });
    await delay(holdMs);
    expect(await pair.atServer.do('numbers', { handle: ends.server, quiet: 0.1 })).toEqual(range(0, 10));
    await datapath().setState(client(), [rules.atClient], 'active');
    expect(await replay()).toHaveLength(datagramsKept);
    await pair.atClient.do('number', { handle: ends.client, first: 110, count: 10 });
    expect(await pair.atServer.do('numbers', { handle: ends.server, quiet: 0.1 })).toEqual(
      range(110 - datagramsKept, 120),
    );
    const after = await datapath().drops();
    expect(after.HELD.packets - before.HELD.packets).toBe(100n);
    expect(after.HELD_OVERFLOW.packets - before.HELD_OVERFLOW.packets).toBe(BigInt(100 - datagramsKept));
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** Ask again until there is something. */
async function until<Item>(ask: () => Promise<Item[]>): Promise<Item[]> {
  for (const deadline = performance.now() + 900; performance.now() < deadline; await delay(2)) {
    const items = await ask();
    if (items.length > 0) return items;
  }
  throw new Error('nothing came');
}
