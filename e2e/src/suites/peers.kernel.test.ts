/** Peers of every kind keep their flows while a server moves, along a chain and back, by real agents. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Fleet } from '../fleet/index.js';
import { createLab, type Host, type Lab, type NetworkNode, type Pod } from '../lab/index.js';
import { Traffic, type ClientOptions, type StreamClient } from '../traffic/index.js';

const port = 7000;
const hosts = ['s1-h1', 's2-h1', 's3-h1'] as const;
const journey = ['s2-h1', 's3-h1', 's1-h1'] as const;

describe('peers of a server that moves', () => {
  let lab: Lab;
  let fleet: Fleet;
  let traffic: Traffic;
  let names = 0;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await Fleet.start(lab);
    traffic = new Traffic(lab, fleet.imagesDir);
    for (const host of lab.hosts)
      await fleet.agent(host.name).declarePod(`host/${host.name}`, {
        netns: host.netns,
        interfaces: ['eth0', 'cni0'],
        addresses: [host.address4, host.address6, host.plan.gateway4, host.plan.gateway6],
        hostNetwork: true,
      });
  }, 60_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  const server = async (
    options: { bind?: 'own'; trackUdp?: boolean } = {},
  ): Promise<{ pod: Pod; name: string }> => {
    const pod = await lab.createPod({ name: `server-${++names}`, host: 's1-h1' });
    const bind = options.bind === undefined ? {} : { bind: pod.address4 };
    const process = await traffic.server(pod, port, bind);
    const name = `suite/${pod.name}`;
    await fleet.declare(pod, name, { process, ...(options.trackUdp ? { trackUdp: true } : {}) });
    return { pod, name };
  };

  const clientPod = async (host: string): Promise<Pod> => {
    const pod = await lab.createPod({ name: `client-${++names}`, host });
    await fleet.declare(pod, `suite/${pod.name}`);
    return pod;
  };

  const travel = async (name: string, clients: readonly StreamClient[]): Promise<void> => {
    let from = 's1-h1';
    for (const to of journey) {
      await fleet.move(name, from, to);
      await Promise.all(clients.map((each) => each.goesOn()));
      from = to;
    }
  };

  const intact = async (clients: readonly StreamClient[]): Promise<void> => {
    for (const result of await Promise.all(clients.map((each) => each.stop())))
      expect(result).toMatchObject({ errors: [], finished: result.connections });
  };

  const everywhere = <At extends NetworkNode>(
    nodes: readonly At[],
    addresses: readonly string[],
    options: ClientOptions = {},
  ): Promise<StreamClient[]> =>
    Promise.all(
      nodes.flatMap((node, i) =>
        addresses.map((address, j) =>
          traffic.client(node, address, port, { connections: 2, seed: i * 10 + j, ...options }),
        ),
      ),
    );

  const pods = (): Promise<Pod[]> => Promise.all(hosts.map(clientPod));

  it('may be processes of the hosts themselves: its own, the target, others; IPv4 and IPv6', async () => {
    const { pod, name } = await server();
    const clients = await everywhere<Host>([...lab.hosts], [pod.address4, pod.address6]);
    await travel(name, clients);
    await intact(clients);
  }, 120_000);

  it('may be several pods of one host, which know it by different addresses', async () => {
    const { pod, name } = await server();
    const nodes = await Promise.all(['s3-h1', 's3-h1', 's3-h1'].map(clientPod));
    const clients = await everywhere(nodes, [pod.address4, pod.address6]);
    await travel(name, clients);
    await intact(clients);
  }, 120_000);

  it('may speak UDP from connected sockets', async () => {
    const { pod, name } = await server({ trackUdp: true });
    const clients = await everywhere(await pods(), [pod.address4, pod.address6], {
      udp: true,
      connected: true,
    });
    await travel(name, clients);
    await intact(clients);
  }, 120_000);

  it('may speak UDP from sockets that are not connected, to a server that has no socket for each', async () => {
    const { pod, name } = await server({ trackUdp: true });
    const clients = await everywhere(await pods(), [pod.address4, pod.address6], { udp: true });
    await travel(name, clients);
    await intact(clients);
  }, 120_000);

  it('may have called a virtual address that their host translates', async () => {
    const { pod, name } = await server();
    const virtual = '10.96.0.7';
    const translate = `ip daddr ${virtual} tcp dport ${port} dnat to ${pod.address4}`;
    const chain = (hook: string): string =>
      `chain ${hook} {\ntype nat hook ${hook} priority -100\n${translate}\n}\n`;
    const rules = `table ip suite {\n${chain('prerouting')}${chain('output')}}\n`;
    for (const host of lab.hosts) await host.run('nft', ['-f', '-'], { input: rules });
    try {
      const clients = await everywhere(await pods(), [virtual]);
      const onHosts = await everywhere<Host>([lab.host('s2-h1'), lab.host('s3-h1')], [virtual]);
      await travel(name, [...clients, ...onHosts]);
      await intact([...clients, ...onHosts]);
    } finally {
      for (const host of lab.hosts) await host.run('nft', ['delete', 'table', 'ip', 'suite']);
    }
  }, 120_000);

  it('may have half-closed their connections', async () => {
    const { pod, name } = await server();
    const clients = await everywhere(await pods(), [pod.address4], { records: 8, linger: 12_000 });
    await Promise.all(clients.map((each) => each.halfClosed()));
    await fleet.move(name, 's1-h1', 's2-h1');
    await fleet.move(name, 's2-h1', 's3-h1');
    await intact(clients);
  }, 120_000);

  it('may not read, so that windows are closed both ways', async () => {
    const { pod, name } = await server();
    const clients = await everywhere(await pods(), [pod.address4, pod.address6], {
      connections: 1,
      pipeline: 200,
      largest: 65_536,
      records: 200,
      stall: 10,
    });
    await fleet.move(name, 's1-h1', 's2-h1');
    await fleet.move(name, 's2-h1', 's3-h1');
    await intact(clients);
  }, 120_000);

  it('may be of a server that has bound its own address', async () => {
    const { pod, name } = await server({ bind: 'own' });
    const clients = await everywhere(await pods(), [pod.address4]);
    await travel(name, clients);
    await intact(clients);
  }, 120_000);

  it('may connect during the freeze, and are established soon after the switch', async () => {
    const { pod, name } = await server();
    const node = await clientPod('s3-h1');
    const clients = [await traffic.client(node, pod.address4, port, { connections: 2, newcomers: 0.004 })];
    const migration = await fleet.move(name, 's1-h1', 's2-h1');
    const { startedAt = '', timeline = [] } = migration.status ?? {};
    const freeze = timeline.find((phase) => phase.name === 'freeze');
    const last = timeline.find((phase) => phase.name === 'switch');
    const begin = Date.parse(startedAt) + (freeze?.startMs ?? NaN);
    const end = Date.parse(startedAt) + (last?.startMs ?? NaN) + (last?.durationMs ?? NaN);
    await clients[0]?.goesOn();
    const result = await (clients[0] as StreamClient).stop();
    // One at a time: whoever knocks at the closed door waits there until it opens.
    const during = result.connectMs.filter(([at, ms]) => at < end && (ms < 0 || at + ms > begin));
    expect(during.length).toBeGreaterThan(0);
    // Without a replay it would be the SYN's timer: a whole second.
    for (const [at, ms] of during) {
      expect(ms).toBeGreaterThan(0);
      expect(at + ms - end).toBeLessThan(500);
    }
    expect(result).toMatchObject({ finished: 2 });
  }, 120_000);
});
