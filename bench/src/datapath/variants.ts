/**
 * What the network part compares: for each way to reach a server, a client, a router and a server in network namespaces
 * of their own, so that one way's leftovers (rules, conntrack, neighbours) can't slow another one down.
 */
import { prepareStack, type EbpfDatapath, type FlowRule } from '@serval/node-agent';
import { inside, run } from '../shell.js';
import type { Workspace } from '../workspace.js';

export const variants = ['native', 'attached', 'translated', 'nftDnat', 'vxlan'] as const;
export type VariantName = (typeof variants)[number];

export interface Variant {
  name: VariantName;
  client: string;
  server: string;
  /** what the client connects to */
  target: string;
  /** throws where the packets of the last measurement were not handled as the name says */
  verify(): Promise<void>;
}

export const throughputPort = 5201;
export const latencyPort = 5202;

const addresses = { client: '10.77.1.2', moved: '10.77.2.2', old: '10.77.3.2', tunnel: '10.77.4.2' };
/** Ports that the clients' kernels may choose from: each has a rule, as nobody knows which ones a client will get. */
const clientPorts = { first: 40_000, last: 41_999 };

export async function makeVariants(workspace: Workspace, datapath: EbpfDatapath): Promise<Variant[]> {
  const made: Variant[] = [];
  for (const name of variants) made.push(await makeVariant(workspace, datapath, name));
  return made;
}

async function makeVariant(
  workspace: Workspace,
  datapath: EbpfDatapath,
  name: VariantName,
): Promise<Variant> {
  const path = await makePath(workspace, name.toLowerCase());
  const variant = { name, ...path, target: addresses.moved, verify: () => Promise.resolve() };
  if (name === 'attached') return { ...variant, verify: await attach(datapath, path) };
  if (name === 'translated')
    return { ...variant, target: addresses.old, verify: await translate(datapath, path) };
  if (name === 'nftDnat') {
    await redirect(path.client);
    // Without the rule nobody would answer at OLD, so there is nothing more to verify. The same holds for the tunnel.
    return { ...variant, target: addresses.old };
  }
  if (name === 'vxlan') {
    await tunnel(path);
    return { ...variant, target: addresses.tunnel };
  }
  return variant;
}

interface Path {
  client: string;
  server: string;
}

/** Client, router, server, a subnet between each two. */
async function makePath(workspace: Workspace, label: string): Promise<Path> {
  const client = await workspace.netns(`${label}-client`);
  const router = await workspace.netns(`${label}-router`);
  const server = await workspace.netns(`${label}-server`);
  const name = (netns: string): string => netns.split('/').at(-1) ?? '';
  const cable = (end: string, port: string): string =>
    `link add eth0 netns ${name(end)} type veth peer name ${port} netns ${name(router)}`;
  await run(['ip', '-batch', '-'], `${cable(client, 'left')}\n${cable(server, 'right')}\n`);
  await setUp(router, [...up('left', '10.77.1.1/24'), ...up('right', '10.77.2.1/24')]);
  await setUp(client, [...up('eth0', `${addresses.client}/24`), 'route add default via 10.77.1.1']);
  await setUp(server, [...up('eth0', `${addresses.moved}/24`), 'route add default via 10.77.2.1']);
  const sysctl = (netns: string, file: string, value: string): Promise<string> =>
    run(inside(netns, ['sh', '-c', `echo "${value}" > /proc/sys/net/ipv4/${file}`]));
  await sysctl(router, 'ip_forward', '1');
  await sysctl(client, 'ip_local_port_range', `${clientPorts.first} ${clientPorts.last}`);
  await sysctl(client, 'tcp_tw_reuse', '1');
  return { client, server };
}

function up(device: string, address: string): string[] {
  return [`link set ${device} up`, `addr add ${address} dev ${device}`];
}

async function setUp(netns: string, lines: readonly string[]): Promise<void> {
  await run(inside(netns, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
}

/** Programs on both ends, with a rule that no packet matches. */
async function attach(datapath: EbpfDatapath, { client, server }: Path): Promise<() => Promise<void>> {
  const pods = { client: 'attached/client', server: 'attached/server' };
  await datapath.addPod({ name: pods.client, netns: client, interfaces: ['eth0'] });
  await datapath.addPod({ name: pods.server, netns: server, interfaces: ['eth0'] });
  await datapath.apply(pods.client, clientRules(1, 9));
  await datapath.apply(pods.server, clientRules(1, 9).map(seenByServer));
  return async () => {
    const attached = (await datapath.pods()).filter(
      (pod) => pod.name.startsWith('attached/') && pod.attached,
    );
    const packets = await packetsOf(datapath, Object.values(pods));
    if (attached.length !== 2 || packets.some((count) => count !== 0n))
      throw new Error('"attached" is not what it says: a program is missing, or a packet was translated');
  };
}

/** The server moved: both ends believe in OLD, the wire says NEW. */
async function translate(datapath: EbpfDatapath, { client, server }: Path): Promise<() => Promise<void>> {
  const pods = ['translated/client', 'translated/server'] as const;
  await prepareStack(server, [addresses.old]);
  await datapath.addPod({ name: pods[0], netns: client, interfaces: ['eth0'] });
  await datapath.addPod({ name: pods[1], netns: server, interfaces: ['eth0'] });
  const ports = clientPorts.last - clientPorts.first + 1;
  const rules = [...clientRules(ports, throughputPort), ...clientRules(ports, latencyPort)];
  await datapath.apply(pods[0], rules);
  await datapath.apply(pods[1], rules.map(seenByServer));
  let before = [0n, 0n, 0n, 0n];
  return async () => {
    const now = await packetsOf(datapath, pods);
    if (now.some((count, i) => count <= (before[i] as bigint)))
      throw new Error(`"translated" is not what it says: the rules counted ${now.join(', ')} packets`);
    before = now;
  };
}

function clientRules(count: number, serverPort: number): FlowRule[] {
  return Array.from({ length: count }, (_, i): FlowRule => {
    const local = { address: addresses.client, port: clientPorts.first + i };
    return {
      flowId: BigInt(serverPort * 100_000 + i),
      migration: 1n,
      protocol: 'tcp',
      identity: { local, remote: { address: addresses.old, port: serverPort } },
      wire: { local, remote: { address: addresses.moved, port: serverPort } },
      state: 'active',
    };
  });
}

function seenByServer(rule: FlowRule): FlowRule {
  const turned = ({ local, remote }: FlowRule['identity']): FlowRule['identity'] => ({
    local: remote,
    remote: local,
  });
  return { ...rule, identity: turned(rule.identity), wire: turned(rule.wire) };
}

/** Translated packets out of and into each of these pods. */
async function packetsOf(datapath: EbpfDatapath, pods: readonly string[]): Promise<bigint[]> {
  const counts: bigint[] = [];
  for (const pod of pods) {
    const flows = await datapath.flows(pod);
    counts.push(flows.reduce((sum, flow) => sum + flow.packetsOut, 0n));
    counts.push(flows.reduce((sum, flow) => sum + flow.packetsIn, 0n));
  }
  return counts;
}

/** What kube-proxy does for a process of the node: OLD is a virtual address, conntrack remembers. */
async function redirect(client: string): Promise<void> {
  const ports = `{ ${throughputPort}, ${latencyPort} }`;
  const rule = `ip daddr ${addresses.old} tcp dport ${ports} dnat to ${addresses.moved}`;
  const chain = `type nat hook output priority -100; policy accept;\n${rule}`;
  await run(inside(client, ['nft', '-f', '-']), `table ip bench {\nchain output {\n${chain}\n}\n}\n`);
}

/** An overlay of the two ends over the same path. */
async function tunnel({ client, server }: Path): Promise<void> {
  const end = (netns: string, local: string, remote: string, address: string): Promise<void> =>
    setUp(netns, [
      `link add overlay type vxlan id 77 local ${local} remote ${remote} dstport 4789 dev eth0`,
      ...up('overlay', address),
    ]);
  await end(client, addresses.client, addresses.moved, '10.77.4.1/24');
  await end(server, addresses.moved, addresses.client, `${addresses.tunnel}/24`);
}
