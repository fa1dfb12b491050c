import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { FlowRule } from '@serval/node-agent';
import type { Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { MovedWorld, type Family, type MovedPair } from './moved-pair.js';
import type { SocketAddress } from './sockets.js';

/*
 * Tagged links. The two pods are joined by a second link, net1, that carries VLANs; the programs sit on net1, and see
 * what its subinterfaces send and receive.
 */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const megabyte = 1_000_000;
const link = 'net1';
const clientEnd = { 4: '192.168.100.1', 6: 'fd02::1' } as const;
const serverEnd = { 4: '192.168.100.2', 6: 'fd02::2' } as const;

/** Lines for `ip -batch`: the devices on top of net1, the last of which has the addresses. */
const tags = [
  {
    name: 'a tag in the metadata, as devices with VLAN offload want it',
    devices: [`link add link ${link} name inner type vlan id 100`],
  },
  {
    name: 'a tag in the frame',
    devices: [`link add link ${link} name inner type vlan id 100 reorder_hdr off`],
  },
  {
    name: 'two tags, 802.1ad and 802.1Q',
    devices: [
      `link add link ${link} name outer type vlan proto 802.1ad id 10`,
      'link set outer up',
      'link add link outer name inner type vlan id 100',
    ],
  },
  {
    name: 'two tags in the frame',
    devices: [
      `link add link ${link} name outer type vlan proto 802.1ad id 10 reorder_hdr off`,
      'link set outer up',
      'link add link outer name inner type vlan id 100 reorder_hdr off',
    ],
  },
];

const ways = [
  { way: 'TCX with direct writes', options: {} },
  { way: 'clsact with helpers', options: { attach: 'clsact', kernelContext: false } },
] as const;
const flowNumbers = { next: 1000 };

describe.each(ways)('VLAN tags, $way', ({ options }) => {
  let world: MovedWorld;

  beforeAll(async () => {
    world = await MovedWorld.build(options);
  });
  afterAll(() => world?.remove());

  const batch = (pod: Pod, lines: readonly string[]) =>
    pod.run('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });

  /** A pair with the tagged link between them, and the way to OLD over it. */
  async function tagged(devices: readonly string[]): Promise<MovedPair> {
    const pair = await world.pair();
    await batch(pair.client, [`link add ${link} type veth peer name ${link} netns ${pair.server.namespace}`]);
    const up = [`link set ${link} up`, ...devices, 'link set inner up'];
    const addresses = (ends: { 4: string; 6: string }) => [
      `address add ${ends[4]}/24 dev inner`,
      `address add ${ends[6]}/64 dev inner nodad`,
    ];
    await batch(pair.client, [
      ...up,
      ...addresses(clientEnd),
      `route add ${pair.old(4)} via ${serverEnd[4]}`,
      `-6 route add ${pair.old(6)} via ${serverEnd[6]}`,
    ]);
    await batch(pair.server, [...up, ...addresses(serverEnd)]);
    for (const pod of [pair.client, pair.server])
      await world.datapathOf(pod).addPod({ name: trunkOf(pod), netns: pod.netns, interface: link });
    return pair;
  }

  /** Rules on net1 at both ends; ports are translated too. */
  async function translate(pair: MovedPair, protocol: 'tcp' | 'udp', family: Family): Promise<FlowRule> {
    const local = { address: clientEnd[family], port: 5_001 };
    const atClient: FlowRule = {
      ...{ flowId: BigInt(flowNumbers.next++), migration: 1n, protocol, state: 'active' },
      identity: { local, remote: { address: pair.old(family), port: 5_002 } },
      wire: { local, remote: { address: serverEnd[family], port: 5_003 } },
    };
    const mirror = ({ local, remote }: FlowRule['wire']) => ({ local: remote, remote: local });
    const atServer = { ...atClient, identity: mirror(atClient.identity), wire: mirror(atClient.wire) };
    await world.datapathOf(pair.server).apply(trunkOf(pair.server), [atServer]);
    await world.datapathOf(pair.client).apply(trunkOf(pair.client), [atClient]);
    return atClient;
  }

  describe.each(tags)('$name', ({ devices }) => {
    let pair: MovedPair;
    beforeAll(async () => {
      pair = await tagged(devices);
    });

    it.each([4, 6] as const)('carry translated TCP and UDP over IPv%i', async (family) => {
      const local: SocketAddress = [clientEnd[family], 5_001];
      const remote: SocketAddress = [pair.old(family), 5_002];
      await translate(pair, 'tcp', family);
      const listening = await pair.atServer.do('open', { kind: 'tcp', family, local: remote, listen: true });
      const accepted = pair.atServer.do('accept', { handle: listening.handle });
      const client = await pair.atClient.do('open', { kind: 'tcp', family, local, remote });
      const { handle } = await accepted;
      const [up, down] = await Promise.all([
        pair.atClient.do('exchange', { handle: client.handle, size: 10 * megabyte, seed: 1 }),
        pair.atServer.do('exchange', { handle, size: 10 * megabyte, seed: 2 }),
      ]);
      expect(down).toEqual({ sent: up.received, received: up.sent, missing: 0 });

      await translate(pair, 'udp', family);
      const server = await pair.atServer.do('open', { kind: 'udp', family, local: remote, remote: local });
      const asker = await pair.atClient.do('open', { kind: 'udp', family, local, remote });
      for (const size of [10, 4_000]) {
        const { digest } = await pair.atClient.do('send', { handle: asker.handle, seed: size, size });
        expect(await pair.atServer.do('receive', { handle: server.handle })).toMatchObject({ digest });
        const back = await pair.atServer.do('send', { handle: server.handle, seed: size + 1, size });
        expect(await pair.atClient.do('receive', { handle: asker.handle })).toMatchObject({
          digest: back.digest,
        });
      }
      const flows = await world.datapathOf(pair.client).flows(trunkOf(pair.client));
      const ours = flows.filter(({ identity }) => identity.remote.address === pair.old(family));
      expect(ours).toHaveLength(2);
      for (const flow of ours) {
        expect(flow.packetsIn).toBeGreaterThan(2n);
        expect(flow.packetsOut).toBeGreaterThan(2n);
      }
    });
  });
});

/** The data plane's name for a pod's tagged link. */
function trunkOf(pod: Pod): string {
  return `trunk/${pod.name}`;
}
