import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { native } from '../../native.js';
import { EbpfDatapath } from '../ebpf.js';
import type { EbpfServices } from './index.js';
import { replicas4, replicas6, rule, ServiceFixture, type Talk } from './services.fixture.js';

const ports = { tcp: 80, udp: 53 } as const;

describe('services at connect()', () => {
  let fixture: ServiceFixture;
  let datapath: EbpfDatapath;
  let services: EbpfServices;
  let talk: Talk;
  let stranger: Talk;
  let cookie: bigint;

  beforeAll(async () => {
    fixture = new ServiceFixture('services');
    for (const [i, address] of replicas4.entries())
      await fixture.serve(`r${i}`, 8080, address, replicas6[i] as string);
    talk = await fixture.talk();
    stranger = await fixture.talk(fixture.far);
    cookie = await fixture.cookie(fixture.near);
  }, 30_000);

  afterAll(() => fixture?.dispose());

  beforeEach(async () => {
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024, choices: 4096, replicas: 1024 });
    services = await datapath.openServices();
    services.setClients([{ cookie, number: 7 }]);
  });

  afterEach(async () => {
    services.close();
    await datapath.uninstall();
  });

  const whoAnswers = async (how: Parameters<Talk['ask']>[0], address: string, port: number, times = 6) => {
    const met = [];
    for (let i = 0; i < times; i++) met.push(await talk.ask(how, address, port));
    return met;
  };

  it.each([
    ['tcp', '10.200.0.1', '10.200.0.1'],
    ['tcp', 'fd20::1', 'fd20::1'],
    ['mapped', '10.200.0.1', '::ffff:10.200.0.1'],
    ['udp', '10.200.0.1', '10.200.0.1'],
    ['udp', 'fd20::1', 'fd20::1'],
  ] as const)('gives a replica to %s to %s, which goes on believing in %s', async (how, address, named) => {
    const protocol = how === 'udp' ? 'udp' : 'tcp';
    await services.table.change([rule({ address, protocol, port: ports[protocol] })]);
    const met = await whoAnswers(how, address, ports[protocol]);
    expect(met.map(({ who }) => who).sort()).toEqual(['r0', 'r0', 'r1', 'r1', 'r2', 'r2']);
    for (const { peer } of met) expect(peer).toEqual([named, ports[protocol]]);
    expect(services.table.count({ address, port: ports[protocol], protocol })).toMatchObject({
      resolved: 6,
    });
  });

  it('tells which services were used since it was asked last, also where replicas came meanwhile', async () => {
    const other = rule({ address: '10.200.0.2' });
    await services.table.change([rule(), other]);
    const used = (): string[] => services.table.usedSince().map(({ address }) => address);
    expect(used()).toEqual([]);
    await talk.ask('tcp', '10.200.0.1', 80);
    expect([used(), used()]).toEqual([['10.200.0.1'], []]);
    await talk.ask('tcp', '10.200.0.2', 80);
    const fewer = other.replicas.slice(0, 2);
    await services.table.change([{ ...other, replicas: fewer, choices: Uint32Array.of(0, 1) }]);
    expect([used(), used()]).toEqual([['10.200.0.2'], []]);
  });

  it('keeps what a stream asked for until it closes, is reset, or is refused', async () => {
    const sockets = native().openPinnedMap(join(fixture.bpffs, 'serval/maps/sal_sockets'));
    const known = (): number => sockets.entries().count;
    await services.table.change([
      rule(),
      rule({
        address: '10.200.0.2',
        replicas: [{ address: '10.99.0.1', port: 8081 }],
        choices: Uint32Array.of(0),
      }),
    ]);
    for (let i = 0; i < 2; i++) await talk.ask('open', '10.200.0.1', 80);
    expect(await talk.ask('tcp', '10.200.0.2', 80)).toMatchObject({ error: 'ECONNREFUSED' });
    expect(known()).toBe(2);
    await whoAnswers('tcp', '10.200.0.1', 80);
    // Its answer is unread: it closes with a reset.
    await talk.ask('close', '10.200.0.1', 80);
    for (let tries = 0; tries < 200 && known() > 0; tries++) await delay(10);
    expect(known()).toBe(0);
    sockets.close();
  });

  it.each(['10.200.0.1', 'fd20::1'])('answers datagrams to %s under that name', async (address) => {
    await services.table.change([rule({ address, protocol: 'udp', port: 53 })]);
    const met = await whoAnswers('datagram', address, 53, 12);
    for (const { from } of met) expect(from).toEqual([address, 53]);
    expect(new Set(met.map(({ who }) => who)).size).toBeGreaterThan(1);
  });

  it('sends datagrams of many sockets to both of two replicas', async () => {
    const replicas = replicas4.slice(0, 2).map((address) => ({ address, port: 8080 }));
    await services.table.change([
      rule({ protocol: 'udp', port: 53, replicas, choices: Uint32Array.of(0, 1) }),
    ]);
    const met = await whoAnswers('datagram', '10.200.0.1', 53, 24);
    expect([...new Set(met.map(({ who }) => who))].sort()).toEqual(['r0', 'r1']);
  });

  it('leaves everybody else alone: other namespaces, other ports, other addresses', async () => {
    await services.table.change([
      rule({
        address: '10.99.0.1',
        port: 8080,
        replicas: [{ address: '10.99.0.3', port: 8080 }],
        choices: Uint32Array.of(0),
      }),
    ]);
    expect(await talk.ask('tcp', '10.99.0.1', 8080)).toMatchObject({ who: 'r2', peer: ['10.99.0.1', 8080] });
    expect(await stranger.ask('tcp', '10.99.0.1', 8080)).toMatchObject({ who: 'r0' });
    expect(await talk.ask('tcp', '10.99.0.2', 8080)).toMatchObject({ who: 'r1', peer: ['10.99.0.2', 8080] });
    expect(await talk.ask('udp', '10.99.0.1', 8080)).toMatchObject({ who: 'r0' });
  });

  it('sends one client always to the same replica, and others elsewhere', async () => {
    const choices = Uint32Array.from({ length: 127 }, (_, i) => i % 3);
    await services.table.change([rule({ balance: 'BY_CLIENT', choices })]);
    const seen = new Set<string | undefined>();
    for (let number = 0; number < 20; number++) {
      services.setClients([{ cookie, number }]);
      const met = await whoAnswers('tcp', '10.200.0.1', 80, 3);
      expect(new Set(met.map(({ who }) => who)).size).toBe(1);
      seen.add(met[0]?.who);
    }
    expect(seen.size).toBe(3);
  });

  it('gives a client that is a replica itself', async () => {
    await services.table.change([rule({ own: new Map([[cookie, 2]]) })]);
    expect((await whoAnswers('tcp', '10.200.0.1', 80)).map(({ who }) => who)).toEqual(Array(6).fill('r2'));
    await services.table.change([rule()]);
    expect(new Set((await whoAnswers('tcp', '10.200.0.1', 80)).map(({ who }) => who)).size).toBe(3);
  });

  it('refuses at once where there is no replica, and counts it', async () => {
    await services.table.change([
      rule({ rule: 'DROP', replicas: [], choices: new Uint32Array() }),
      rule({ rule: 'DROP', replicas: [], choices: new Uint32Array(), protocol: 'udp', port: 53 }),
    ]);
    expect(await talk.ask('tcp', '10.200.0.1', 80)).toMatchObject({ error: 'ECONNREFUSED' });
    expect(await talk.ask('datagram', '10.200.0.1', 53)).toMatchObject({ error: 'ECONNREFUSED' });
    expect((await datapath.drops()).NO_REPLICA.packets).toBe(2n);
    expect(services.table.count({ address: '10.200.0.1', port: 80, protocol: 'tcp' }).refused).toBe(1);
  });

  it('sends who names an address that was left to where the workload is', async () => {
    services.setLeft('10.99.0.1', '10.99.0.2');
    expect(await talk.ask('tcp', '10.99.0.1', 8080)).toMatchObject({ who: 'r1', peer: ['10.99.0.1', 8080] });
    expect(services.leftAddresses()).toEqual(new Map([['10.99.0.1', '10.99.0.2']]));
    services.forgetLeft('10.99.0.1');
    expect(await talk.ask('tcp', '10.99.0.1', 8080)).toMatchObject({ who: 'r0' });
  });

  it('counts what it has seen of each replica, and tells of one that is silent or refuses', async () => {
    const events: unknown[] = [];
    services.onEvent((event) => events.push(event));
    await services.table.change([
      rule({
        replicas: [
          { address: '10.99.0.1', port: 8080 },
          { address: '10.99.0.1', port: 9 },
        ],
        choices: Uint32Array.of(0, 1),
      }),
    ]);
    await whoAnswers('tcp', '10.200.0.1', 80, 4);
    const seen = new Map(
      services.table
        .seen({ address: '10.200.0.1', port: 80, protocol: 'tcp' })
        .map((each) => [each.port, each]),
    );
    expect(seen.get(8080)).toMatchObject({
      address: '10.99.0.1',
      protocol: 'tcp',
      connections: 2,
      failures: 0,
    });
    expect(seen.get(8080)?.rttUs).toBeGreaterThan(0);
    expect(seen.get(9)).toMatchObject({ connections: 0, failures: 2 });
    while (events.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(events).toHaveLength(2);
    expect(events[0]).toMatchObject({
      kind: 'REFUSED',
      cookie,
      asked: { address: '10.200.0.1', port: 80 },
      replica: { address: '10.99.0.1', port: 9 },
    });
  });

  it('notices a silent replica after the time of the service', async () => {
    const silent: Array<{ attempt: number; at: number; local: { address: string; port: number } }> = [];
    const start = performance.now();
    services.onEvent(({ attempt, local }) => silent.push({ attempt, local, at: performance.now() - start }));
    await services.table.change([
      rule({ replicas: [{ address: '10.97.0.1', port: 8080 }], choices: Uint32Array.of(0) }),
    ]);
    expect(await talk.ask('tcp', '10.200.0.1', 80)).toMatchObject({ error: expect.anything() });
    expect(silent[0]).toMatchObject({ attempt: 1, local: { address: '10.98.0.1' } });
    expect(silent[0]?.at).toBeGreaterThan(90);
    expect(silent[0]?.at).toBeLessThan(400);
    expect(silent.length).toBeGreaterThan(3);
  }, 20_000);

  it('keeps the SYN of a socket that waits, until it is released', async () => {
    const events: Array<{ kind: string; socket: bigint; opening: Buffer }> = [];
    services.onEvent((event) => events.push(event));
    services.holdBack(true);
    await services.table.change([rule({ rule: 'DELAY', replicas: [], choices: new Uint32Array() })]);
    const waits = talk.ask('tcp', '10.200.0.1', 80);
    while (events.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(events[0]).toMatchObject({ kind: 'WAITS' });
    expect(events[0]?.opening.readUInt32BE(16)).toBe(0x0ac80001);
    expect(services.waiting()).toEqual([events[0]?.socket]);
    expect((await datapath.drops()).DELAYED.packets).toBeGreaterThan(0n);
    // Nobody has the virtual IP, so that what is let go finds nobody either; but it goes.
    expect(services.release(events[0]?.socket as bigint)).toBe(true);
    expect(services.release(events[0]?.socket as bigint)).toBe(false);
    services.holdBack(false);
    expect(await waits).toMatchObject({ error: expect.anything() });
  }, 20_000);

  it('goes on without an agent, and a later one takes over what there is', async () => {
    await services.table.change([rule()]);
    services.close();
    await datapath.close();
    expect((await whoAnswers('tcp', '10.200.0.1', 80, 3)).map(({ who }) => who).sort()).toEqual([
      'r0',
      'r1',
      'r2',
    ]);
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024, choices: 4096, replicas: 1024 });
    services = await datapath.openServices();
    expect(services.table.known()).toEqual([{ address: '10.200.0.1', port: 80, protocol: 'tcp' }]);
    expect((await whoAnswers('tcp', '10.200.0.1', 80, 3)).map(({ who }) => who).sort()).toEqual([
      'r0',
      'r1',
      'r2',
    ]);
    await services.table.change([], services.table.known());
    expect(services.table.known()).toEqual([]);
    expect(await talk.ask('tcp', '10.200.0.1', 80)).toMatchObject({ error: expect.anything() });
  }, 20_000);

  it('says when the table is full, and what was there goes on', async () => {
    await services.table.change([rule()]);
    const many = Array.from({ length: 20 }, (_, i) =>
      rule({ address: `10.200.1.${i}`, choices: Uint32Array.from({ length: 400 }, (_, n) => n % 3) }),
    );
    await expect(services.table.change(many)).rejects.toMatchObject({ code: 'ERR_TABLE_FULL' });
    expect(await talk.ask('tcp', '10.200.0.1', 80)).toMatchObject({ who: expect.stringMatching(/^r/) });
  });
});
