/** Guests behind a pod's device: their flows to services are resolved by the packets that open them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { EbpfDatapath } from '../ebpf.js';
import type { EbpfServices } from './index.js';
import { replicas4, replicas6, rule, ServiceFixture, type Talk } from './services.fixture.js';

const pod = 'shop/vm';

describe('guests of a pod', () => {
  let fixture: ServiceFixture;
  let datapath: EbpfDatapath;
  let services: EbpfServices;
  let guest: Talk;

  beforeAll(async () => {
    fixture = new ServiceFixture('guests');
    const name = fixture.guest();
    for (const [i, address] of replicas4.entries())
      await fixture.serve(`r${i}`, 8080, address, replicas6[i] as string);
    guest = await fixture.talk(name);
  }, 30_000);

  afterAll(() => fixture?.dispose());

  beforeEach(async () => {
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024 });
    services = await datapath.openServices();
    await datapath.addPod({ name: pod, netns: fixture.netns(fixture.near), interfaces: ['eth0'] });
    await datapath.resolveGuests(pod, true);
  });

  afterEach(async () => {
    services.close();
    await datapath.uninstall();
  });

  it.each([
    ['tcp', '10.200.0.1'],
    ['tcp', 'fd20::1'],
    ['udp', '10.200.0.1'],
    ['datagram', 'fd20::1'],
  ] as const)('get a replica by %s to %s, and believe in the virtual IP', async (how, address) => {
    const protocol = how === 'tcp' ? 'tcp' : 'udp';
    const port = protocol === 'tcp' ? 80 : 53;
    await services.table.change([rule({ address, protocol, port })]);
    const met = [];
    for (let i = 0; i < 6; i++) met.push(await guest.ask(how, address, port));
    expect(met.map(({ who }) => who).sort()).toEqual(['r0', 'r0', 'r1', 'r1', 'r2', 'r2']);
    for (const { peer, from } of met) expect(peer ?? from).toEqual([address, port]);
    // More where a SYN was sent twice, as the first one to a neighbour that is not known yet may be.
    expect(services.table.count({ address, port, protocol }).resolved).toBeGreaterThanOrEqual(6);
  });

  it('are left alone where they name no service, and where the pod is not said to have any', async () => {
    await services.table.change([rule()]);
    expect(await guest.ask('tcp', '10.99.0.2', 8080)).toMatchObject({ who: 'r1' });
    await datapath.resolveGuests(pod, false);
    expect((await datapath.pods())[0]).toMatchObject({ attached: false, guests: false });
    expect(await guest.ask('tcp', '10.99.0.2', 8080)).toMatchObject({ who: 'r1' });
  });

  it('get another replica with the SYN that they send again', async () => {
    const replicas = [
      { address: '10.97.0.1', port: 8080 },
      { address: '10.99.0.2', port: 8080 },
    ];
    await services.table.change([rule({ replicas, choices: Uint32Array.of(0, 1) })]);
    const met = [await guest.ask('tcp', '10.200.0.1', 80), await guest.ask('tcp', '10.200.0.1', 80)];
    // Both had the silent one first, and were there after Linux' own second.
    expect(met.map(({ who }) => who)).toEqual(['r1', 'r1']);
    expect(Math.max(...met.map(({ ms }) => ms))).toBeLessThan(2_500);
    expect(services.table.seen({ address: '10.200.0.1', port: 80, protocol: 'tcp' })).toContainEqual(
      expect.objectContaining({ address: '10.97.0.1', failures: 2 }),
    );
  }, 20_000);

  it('get nothing from a service that has nobody, which is counted', async () => {
    await services.table.change([
      rule({ rule: 'DROP', replicas: [], choices: new Uint32Array(), protocol: 'udp', port: 53 }),
    ]);
    expect(await guest.ask('datagram', '10.200.0.1', 53)).toMatchObject({ error: expect.anything() });
    expect((await datapath.drops()).NO_REPLICA.packets).toBe(1n);
  }, 20_000);

  it('keep what they have when the service changes', async () => {
    await services.table.change([
      rule({
        replicas: [{ address: '10.99.0.1', port: 8080 }],
        choices: Uint32Array.of(0),
        protocol: 'udp',
        port: 53,
      }),
    ]);
    const name = `${fixture.near}-guest`;
    const script = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect(("10.200.0.1", 53))
for _ in sys.stdin:
    s.send(b"?"); print(s.recv(10).decode(), flush=True)
`;
    const answers: string[] = [];
    const child = spawn('nsenter', [`--net=${fixture.netns(name)}`, 'python3', '-uc', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdout
      .setEncoding('utf8')
      .on('data', (text: string) => answers.push(...text.split('\n').filter((line) => line !== '')));
    const ask = async (): Promise<void> => {
      const before = answers.length;
      child.stdin.write('\n');
      while (answers.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await ask();
    await services.table.change([
      rule({
        replicas: [{ address: '10.99.0.2', port: 8080 }],
        choices: Uint32Array.of(0),
        protocol: 'udp',
        port: 53,
      }),
    ]);
    await ask();
    expect(answers).toEqual(['r0', 'r0']);
    child.stdin.end();
    await new Promise((resolve) => child.on('close', resolve));
    expect((await guest.ask('udp', '10.200.0.1', 53)).who).toBe('r1');
  }, 20_000);

  it('are served by who comes after this agent too', async () => {
    await services.table.change([rule()]);
    services.close();
    await datapath.close();
    expect((await guest.ask('tcp', '10.200.0.1', 80)).who).toMatch(/^r/);
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024 });
    services = await datapath.openServices();
    expect((await datapath.pods())[0]).toMatchObject({ name: pod, attached: true, guests: true });
    expect((await guest.ask('tcp', '10.200.0.1', 80)).who).toMatch(/^r/);
  });
});
