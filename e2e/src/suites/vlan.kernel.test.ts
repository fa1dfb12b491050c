import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { join } from 'node:path';
import { native, type FlowRule } from '@serval/node-agent';
import type { Pod } from '../lab/index.js';
import { requireRoot, run } from '../lab/processes.js';
import { MovedWorld, type Family, type MovedPair } from './moved-pair.js';
import type { SocketAddress } from './sockets.js';

/*
 * Tagged frames. The two pods are joined by a second link, net1; a program of the test puts tags on what leaves it,
 * before the data plane's programs see it, and another takes them off behind them.
 */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const megabyte = 1_000_000;
const link = 'net1';
const clientEnd = { 4: '192.168.100.1', 6: 'fd02::1' } as const;
const serverEnd = { 4: '192.168.100.2', 6: 'fd02::2' } as const;

const tags = [
  { name: 'one tag, in the metadata', program: 'tag_once', vlans: [100] },
  {
    name: 'two tags, 802.1Q in the frame and 802.1ad in the metadata',
    program: 'tag_twice',
    vlans: [10, 100],
  },
];
const ways = [
  { way: 'by TCX with direct writes', options: {} },
  { way: 'by clsact with helpers', options: { attach: 'clsact', kernelContext: false } },
] as const;

let flowId = 0n;

describe.each(ways)('translation of tagged frames $way', ({ options }) => {
  let world: MovedWorld;
  let object: string;
  const closers: (() => void)[] = [];

  beforeAll(async () => {
    world = await MovedWorld.build(options);
    object = join(await world.lab.mount('tmpfs', 'objects'), 'vlan-tags.bpf.o');
    const source = join(import.meta.dirname, 'vlan-tags.bpf.c');
    const machine = (await run('gcc', ['-dumpmachine'])).stdout.trim();
    const flags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', `-I/usr/include/${machine}`];
    await run('clang-14', [...flags, '-c', source, '-o', object]);
  });
  afterAll(async () => {
    for (const close of closers) close();
    await world?.remove();
  });

  const batch = (pod: Pod, lines: readonly string[]) =>
    pod.run('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });

  /** A pair with a tagged link between them, and the way to OLD over it. */
  async function tagged(program: string): Promise<MovedPair> {
    const pair = await world.pair();
    const ends = [
      `name ${link} netns ${pair.client.namespace}`,
      `name ${link} netns ${pair.server.namespace}`,
    ];
    await run('ip', ['link', 'add', ...`${ends[0]} type veth peer ${ends[1]}`.split(' ')]);
    const lines = (own: { 4: string; 6: string }) => [
      `link set ${link} up`,
      `address add ${own[4]}/24 dev ${link}`,
      `address add ${own[6]}/64 dev ${link} nodad`,
    ];
    await batch(pair.server, lines(serverEnd));
    await batch(pair.client, [
      ...lines(clientEnd),
      `route add ${pair.old(4)} via ${serverEnd[4]}`,
      `route add ${pair.old(6)} via ${serverEnd[6]}`,
    ]);
    for (const pod of [pair.client, pair.server]) {
      await tag(pod, program);
      await world.datapathOf(pod).addPod({ name: trunkOf(pod), netns: pod.netns, interfaces: [link] });
    }
    return pair;
  }

  /** TCX comes before clsact, and in the order of attachment: the tag is put on first and taken off last. */
  async function tag({ netns }: Pod, program: string): Promise<void> {
    const opened = native().openObject(object);
    await opened.load();
    const programs = [opened.program(program), opened.program('untag')] as const;
    opened.close();
    const index = await native().interfaceIndex(netns, link);
    const tagging = await native().attachTcx(netns, index, 'egress', programs[0]);
    await native().attachClsact(netns, index, 'ingress', programs[1], 1, 100);
    closers.push(() => [tagging, ...programs].forEach((handle) => handle.close()));
  }

  /** Rules on the tagged link, at both ends; ports are translated too. */
  async function translate(pair: MovedPair, protocol: 'tcp' | 'udp', family: Family): Promise<FlowRule> {
    const local = { address: clientEnd[family], port: 5_001 };
    const atClient: FlowRule = {
      ...{ flowId: ++flowId, migration: 1n, protocol, state: 'active' },
      identity: { local, remote: { address: pair.old(family), port: 5_002 } },
      wire: { local, remote: { address: serverEnd[family], port: 5_003 } },
    };
    const mirror = ({ local, remote }: FlowRule['wire']) => ({ local: remote, remote: local });
    const atServer = { ...atClient, identity: mirror(atClient.identity), wire: mirror(atClient.wire) };
    await world.datapathOf(pair.server).apply(trunkOf(pair.server), [atServer]);
    await world.datapathOf(pair.client).apply(trunkOf(pair.client), [atClient]);
    return atClient;
  }

  describe.each(tags)('$name', ({ program, vlans }) => {
    let pair: MovedPair;
    beforeAll(async () => {
      pair = await tagged(program);
    });

    it.each([4, 6] as const)('carries TCP and UDP, whole and in fragments, over IPv%i', async (family) => {
      const local: SocketAddress = [clientEnd[family], 5_001];
      const remote: SocketAddress = [pair.old(family), 5_002];
      const rules = [await translate(pair, 'tcp', family), await translate(pair, 'udp', family)];
      const recorder = await world.lab.record([{ at: pair.server, interface: link, direction: 'in' }]);

      const listening = await pair.atServer.do('open', { kind: 'tcp', family, local: remote, listen: true });
      const accepted = pair.atServer.do('accept', { handle: listening.handle });
      const client = await pair.atClient.do('open', { kind: 'tcp', family, local, remote });
      const { handle } = await accepted;
      const [up, down] = await Promise.all([
        pair.atClient.do('exchange', { handle: client.handle, size: 10 * megabyte, seed: 1 }),
        pair.atServer.do('exchange', { handle, size: 10 * megabyte, seed: 2 }),
      ]);
      expect(down).toEqual({ sent: up.received, received: up.sent, missing: 0 });

      const server = await pair.atServer.do('open', { kind: 'udp', family, local: remote, remote: local });
      const asker = await pair.atClient.do('open', { kind: 'udp', family, local, remote });
      for (const size of [10, 1_400, 4_000]) {
        const { digest } = await pair.atClient.do('send', { handle: asker.handle, seed: size, size });
        expect(await pair.atServer.do('receive', { handle: server.handle })).toMatchObject({ digest });
        const back = await pair.atServer.do('send', { handle: server.handle, seed: size + 1, size });
        expect(await pair.atClient.do('receive', { handle: asker.handle })).toMatchObject({
          digest: back.digest,
        });
      }

      const { packets } = await recorder.stop();
      const carriers = packets.filter(({ protocol }) => protocol === 'tcp' || protocol === 'udp');
      expect(carriers.length).toBeGreaterThan(20);
      for (const packet of carriers)
        expect(packet).toMatchObject({ vlans, source: clientEnd[family], destination: serverEnd[family] });
      const flows = await world.datapathOf(pair.client).flows(trunkOf(pair.client));
      for (const rule of rules) {
        const { packetsIn, packetsOut } = flows.find(
          (flow) => flow.flowId === rule.flowId,
        ) as (typeof flows)[0];
        expect(packetsIn).toBeGreaterThanOrEqual(5n);
        expect(packetsOut).toBeGreaterThanOrEqual(5n);
      }
    });
  });
});

/** The data plane's name for a pod's tagged link. */
function trunkOf(pod: Pod): string {
  return `trunk/${pod.name}`;
}
