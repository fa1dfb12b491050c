/**
 * What the suites of the data plane stand on: a lab with three sites, and pairs of pods whose server "has moved". Its
 * sockets are bound to OLD, an address of site 1 that no pod has; it lives in site 2 under NEW; the client is in site 3.
 */
import {
  EbpfDatapath,
  prepareStack,
  type EbpfOptions,
  type FlowRule,
  type FlowStatus,
} from '@serval/node-agent';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { hostInterfaceOf } from '../lab/pods.js';
import { Sockets, type OpenSocket, type SocketAddress, type SocketOption } from './sockets.js';

export type Family = 4 | 6;

/** One flow between the two; ports on the wire are those of the identity where they are not given. */
export interface PairFlow {
  protocol: 'tcp' | 'udp';
  family: Family;
  clientPort: number;
  serverPort: number;
  wireClientPort?: number;
  wireServerPort?: number;
}

/** Where a flow is translated. With one end alone, the other knows the flow as it is on the wire, as any pod would. */
export type TranslatedAt = 'both' | 'client' | 'server';

/** The rules of one flow at both its ends. */
export interface PairRules {
  atClient: FlowRule;
  atServer: FlowRule;
}

/** A lab and a data plane for every host. */
export class MovedWorld {
  private readonly pairs: MovedPair[] = [];
  private readonly datapaths = new Map<string, EbpfDatapath>();

  private constructor(readonly lab: Lab) {}

  static async build(options: EbpfOptions = {}): Promise<MovedWorld> {
    const world = new MovedWorld(await createLab({ sites: 3 }));
    try {
      for (const { name } of world.lab.hosts) {
        const bpffs = await world.lab.mount('bpf', `bpf-${name}`);
        world.datapaths.set(name, await EbpfDatapath.open({ bpffs, slots: 1024, ...options }));
      }
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  datapathOf(pod: Pod): EbpfDatapath {
    return this.datapaths.get(pod.host.name) as EbpfDatapath;
  }

  /** A client, a server that has moved, and helpers in both. */
  async pair(): Promise<MovedPair> {
    const number = this.pairs.length + 1;
    const client = await this.lab.createPod({ name: `client-${number}`, host: 's3-h1' });
    const server = await this.lab.createPod({ name: `server-${number}`, host: 's2-h1' });
    const pair = new MovedPair(this, client, server, 200 + number);
    this.pairs.push(pair);
    await prepareStack(server.netns, [pair.old(4), pair.old(6)]);
    for (const pod of [client, server])
      await this.datapathOf(pod).addPod({ name: nameOf(pod), netns: pod.netns, interfaces: [pod.interface] });
    return pair;
  }

  /** Everything that was made. May be called at any point. */
  async remove(): Promise<void> {
    try {
      await Promise.allSettled(this.pairs.splice(0).map((pair) => pair.end()));
      for (const datapath of this.datapaths.values()) await datapath.uninstall();
      this.datapaths.clear();
    } finally {
      this.lab.remove();
    }
  }
}

/** The data plane's name for a pod. */
export function nameOf(pod: Pod): string {
  return `suite/${pod.name}`;
}

interface SocketEnds {
  local: SocketAddress;
  remote: SocketAddress;
}

type AcceptedSocket = OpenSocket & { peer: SocketAddress };

let flowIds = 0n;
const migration = 1n;

export class MovedPair {
  readonly atClient: Sockets;
  readonly atServer: Sockets;

  constructor(
    readonly world: MovedWorld,
    readonly client: Pod,
    readonly server: Pod,
    /** last number of OLD */
    readonly oldIndex: number,
  ) {
    this.atClient = Sockets.start(client);
    this.atServer = Sockets.start(server);
  }

  /** The address that the server believes it has. */
  old(family: Family): string {
    return family === 4 ? `10.1.1.${this.oldIndex}` : `fd00:1:1::${this.oldIndex}`;
  }

  new(family: Family): string {
    return addressOf(this.server, family);
  }

  clientAddress(family: Family): string {
    return addressOf(this.client, family);
  }

  rules(flow: PairFlow): PairRules {
    const { protocol, family, clientPort, serverPort } = flow;
    const identity = endpoints(this.clientAddress(family), clientPort, this.old(family), serverPort);
    const wire = endpoints(
      this.clientAddress(family),
      flow.wireClientPort ?? clientPort,
      this.new(family),
      flow.wireServerPort ?? serverPort,
    );
    const rule = { migration, protocol, state: 'active' as const };
    return {
      atClient: { ...rule, flowId: ++flowIds, identity, wire },
      atServer: { ...rule, flowId: ++flowIds, identity: mirror(identity), wire: mirror(wire) },
    };
  }

  /** Installs the flow's rules, the server's first. */
  async translate(flow: PairFlow, at: TranslatedAt = 'both'): Promise<PairRules> {
    const rules = this.rules(flow);
    const { client, server, world } = this;
    if (at !== 'client') await world.datapathOf(server).apply(nameOf(server), [rules.atServer]);
    if (at !== 'server') await world.datapathOf(client).apply(nameOf(client), [rules.atClient]);
    return rules;
  }

  /** What the flow's sockets are bound and connected to. */
  socketsOf(flow: PairFlow, at: TranslatedAt = 'both'): { client: SocketEnds; server: SocketEnds } {
    const { atClient, atServer } = this.rules(flow);
    return {
      client: socketEnds(at === 'server' ? atClient.wire : atClient.identity),
      server: socketEnds(at === 'client' ? atServer.wire : atServer.identity),
    };
  }

  /** Takes the flow's rules away. */
  async release(rules: PairRules): Promise<void> {
    const remove = (pod: Pod, { flowId }: FlowRule) =>
      this.world.datapathOf(pod).remove(nameOf(pod), { flowIds: [flowId] });
    await remove(this.client, rules.atClient);
    await remove(this.server, rules.atServer);
  }

  /** The flow's counters at both its ends. */
  async counters(rules: PairRules): Promise<{ atClient: FlowStatus; atServer: FlowStatus }> {
    const find = async (pod: Pod, { flowId }: FlowRule): Promise<FlowStatus> => {
      const flows = await this.world.datapathOf(pod).flows(nameOf(pod));
      return flows.find((flow) => flow.flowId === flowId) as FlowStatus;
    };
    return {
      atClient: await find(this.client, rules.atClient),
      atServer: await find(this.server, rules.atServer),
    };
  }

  /** A TCP connection through the translation: the client's socket, and what the server accepted. */
  async connect(flow: PairFlow, at?: TranslatedAt): Promise<{ client: OpenSocket; server: AcceptedSocket }> {
    const ends = this.socketsOf(flow, at);
    const stream = { kind: 'tcp', family: flow.family } as const;
    const listener = await this.atServer.do('open', { ...stream, local: ends.server.local, listen: true });
    const accepted = this.atServer.do('accept', { handle: listener.handle });
    const client = await this.atClient.do('open', { ...stream, ...ends.client });
    const server = await accepted;
    await this.atServer.do('close', { handle: listener.handle });
    return { client, server };
  }

  /** Two connected UDP sockets, one at each end. */
  async datagrams(
    flow: PairFlow,
    options: readonly SocketOption[] = [],
    at?: TranslatedAt,
  ): Promise<{ client: number; server: number }> {
    const ends = this.socketsOf(flow, at);
    const datagram = { kind: 'udp', family: flow.family, options } as const;
    const server = await this.atServer.do('open', { ...datagram, ...ends.server });
    const client = await this.atClient.do('open', { ...datagram, ...ends.client });
    return { client: client.handle, server: server.handle };
  }

  /** Bytes both ways at once through a connection. */
  async exchange(client: number, server: number, size: number): Promise<{ intact: boolean; bytes: number }> {
    const [up, down] = await Promise.all([
      this.atClient.do('exchange', { handle: client, size, seed: client }),
      this.atServer.do('exchange', { handle: server, size, seed: server + 1000 }),
    ]);
    const same = up.sent === down.received && down.sent === up.received;
    return { intact: same, bytes: size - Math.max(up.missing, down.missing) };
  }

  /** One datagram there and one back. @returns whether each arrived as it was sent */
  async roundTrip(client: number, server: number, size: number): Promise<{ there: boolean; back: boolean }> {
    const sent = await this.atClient.do('send', { handle: client, seed: size, size });
    const arrived = await this.atServer.do('receive', { handle: server });
    const answer = await this.atServer.do('send', { handle: server, seed: size + 1, size });
    const returned = await this.atClient.do('receive', { handle: client });
    return {
      there: arrived.size === size && arrived.digest === sent.digest,
      back: returned.size === size && returned.digest === answer.digest,
    };
  }

  /**
   * What `ethtool -K` does, at both ends of both pods' links: packets of one segment, with complete checksums. (A veth
   * does GRO for what comes from an end without TSO.)
   */
  async turnOffOffloads(gro = false): Promise<void> {
    const none = { tx: false, sg: false, tso: false, gso: false };
    for (const pod of [this.client, this.server]) {
      const places = [
        [pod.host, hostInterfaceOf(pod.name)],
        [pod, pod.interface],
      ] as const;
      for (const [node, device] of places) {
        const sockets = Sockets.start(node);
        await sockets.do('offload', { device, ...none, gro: gro && node === pod });
        await sockets.end();
      }
    }
  }

  async end(): Promise<void> {
    await Promise.all([this.atClient.end(), this.atServer.end()]);
  }
}

function addressOf(pod: Pod, family: Family): string {
  return family === 4 ? pod.address4 : pod.address6;
}

function socketEnds({ local, remote }: FlowRule['wire']): SocketEnds {
  return { local: [local.address, local.port], remote: [remote.address, remote.port] };
}

function endpoints(
  local: string,
  localPort: number,
  remote: string,
  remotePort: number,
): FlowRule['identity'] {
  return { local: { address: local, port: localPort }, remote: { address: remote, port: remotePort } };
}

function mirror({ local, remote }: FlowRule['identity']): FlowRule['identity'] {
  return { local: remote, remote: local };
}
