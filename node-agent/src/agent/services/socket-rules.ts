/**
 * Rules of sockets that were given another replica than the one that they believe in: after a replica did not answer, or when
 * one came for those that waited. Like a moved flow's they end with their socket, and this agent alone makes and ends them.
 */
import { canonicalAddress } from '../../datapath/address.js';
import type { Datapath, Endpoint, FlowRule } from '../../datapath/types.js';
import { native, type SocketRecord } from '../../native.js';
import type { AgentPod } from '../pods.js';

/** Owner of these rules, in place of a migration: no migration has this number, which is drawn at random. */
export const socketOwner = 0x5e71_a15e_1ec7_ed00n;

/** TCP_SYN_SENT */
const opening = 1 << 2;
/** Everything but CLOSE and LISTEN. */
const living = [1, 2, 3, 4, 5, 6, 8, 9, 11, 12].reduce((mask, state) => mask | (1 << state), 0);

/** A socket as its own pod knows it. */
export interface OwnSocket {
  local: Endpoint;
  /** whom it believes to talk to */
  remote: Endpoint;
}

export interface SocketRulesDeps {
  datapath: Datapath;
  nextFlowId: () => bigint;
}

export class SocketRules {
  /** by pod and socket */
  private readonly flowIds = new Map<string, bigint>();

  constructor(private readonly deps: SocketRulesDeps) {}

  /**
   * Give a socket that still opens its connection to another replica. `from` are those that were tried: their late answers
   * are refused first, then it is looked whether one of them has answered after all; only then the SYNs go elsewhere.
   * False where the socket is not opening any more: then the last of them has answered, and it stays there.
   */
  async redirect(
    pod: AgentPod,
    socket: OwnSocket,
    from: readonly Endpoint[],
    to: Endpoint,
  ): Promise<boolean> {
    const flowId = this.idOf(pod, socket);
    const rule = (remote: Endpoint, state: FlowRule['state']): FlowRule => ({
      flowId,
      migration: socketOwner,
      protocol: 'tcp',
      // What is refused stands for itself.
      identity: { local: socket.local, remote: state === 'refused' ? remote : socket.remote },
      wire: { local: socket.local, remote },
      state,
      // Where the first one was on the client's own segment, its hardware address is in the frames.
      reroute: true,
    });
    const { datapath } = this.deps;
    await datapath.apply(
      pod.name,
      from.map((each) => rule(each, 'refused')),
    );
    if (!(await isOpening(pod, socket))) {
      const last = from.at(-1);
      if (last === undefined || from.length === 1) await this.forget(pod, socket);
      else await datapath.apply(pod.name, [rule(last, 'active')]);
      return false;
    }
    await datapath.apply(pod.name, [rule(to, 'active')]);
    return true;
  }

  /** Rules of sockets that are gone. */
  async sweep(pods: Iterable<AgentPod>): Promise<void> {
    const { datapath } = this.deps;
    for (const pod of pods) {
      const flows = await datapath.flows(pod.name, { migration: socketOwner });
      if (flows.length === 0) continue;
      const alive = new Set((await listSockets(pod, living)).map(({ localPort }) => localPort));
      const over = flows
        .filter(({ identity }) => !alive.has(identity.local.port))
        .map(({ flowId }) => flowId);
      if (over.length > 0) await datapath.remove(pod.name, { migration: socketOwner, flowIds: over });
    }
  }

  private async forget(pod: AgentPod, socket: OwnSocket): Promise<void> {
    const key = socketKey(pod, socket);
    const flowId = this.flowIds.get(key);
    this.flowIds.delete(key);
    if (flowId !== undefined)
      await this.deps.datapath.remove(pod.name, { migration: socketOwner, flowIds: [flowId] });
  }

  private idOf(pod: AgentPod, socket: OwnSocket): bigint {
    const key = socketKey(pod, socket);
    const known = this.flowIds.get(key) ?? this.deps.nextFlowId();
    this.flowIds.set(key, known);
    // Ports come back: the oldest are those of sockets that are long gone.
    if (this.flowIds.size > 10_000) this.flowIds.delete(this.flowIds.keys().next().value as string);
    return known;
  }
}

/** Sockets of a pod that still open their connection. */
export function openingSockets(pod: AgentPod): Promise<SocketRecord[]> {
  return listSockets(pod, opening);
}

async function isOpening(pod: AgentPod, socket: OwnSocket): Promise<boolean> {
  return (await openingSockets(pod)).some((each) => isSocket(each, socket));
}

export function isSocket(record: SocketRecord, { local, remote }: OwnSocket): boolean {
  return (
    record.localPort === local.port &&
    record.remotePort === remote.port &&
    canonicalAddress(record.localAddress) === local.address &&
    canonicalAddress(record.remoteAddress) === remote.address
  );
}

function listSockets(pod: AgentPod, states: number): Promise<SocketRecord[]> {
  return native().listSockets(pod.netns, 'tcp', states);
}

function socketKey(pod: AgentPod, { local, remote }: OwnSocket): string {
  return `${pod.netns} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
}
