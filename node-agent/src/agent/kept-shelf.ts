/**
 * Packets that holds have kept, until those who may send them ask: several migrations may hold flows of one pod, and the
 * data plane hands out a pod's packets all at once.
 */
import { withEnds } from '../datapath/kept.js';
import type { Datapath, FlowTuple, KeptPacket } from '../datapath/types.js';

/** Packets that were taken out of holds, sent again, and refused by the kernel. */
export interface KeptCounts {
  held: { inc(by: number): void };
  replayed: { inc(by: number): void };
  replayRefused: { inc(by: number): void };
}

export class KeptShelf {
  private readonly byPod = new Map<string, KeptPacket[]>();

  constructor(
    private readonly datapath: Datapath,
    private readonly counts: KeptCounts,
  ) {}

  /** Takes what was kept for this pod and is wanted; the rest stays. */
  async take(pod: string, wanted: (packet: KeptPacket) => boolean): Promise<KeptPacket[]> {
    const fresh = await this.datapath.takeKept(pod);
    this.counts.held.inc(fresh.length);
    const all = [...(this.byPod.get(pod) ?? []), ...fresh];
    const rest = all.filter((packet) => !wanted(packet));
    if (rest.length > 0) this.byPod.set(pod, rest);
    else this.byPod.delete(pod);
    return rest.length === 0 ? all : all.filter(wanted);
  }

  /** Flows of this pod that something was kept for. */
  async waiting(pod: string): Promise<Set<bigint>> {
    await this.take(pod, () => false);
    return new Set(this.byPod.get(pod)?.map(({ flowId }) => flowId));
  }

  /** Takes what was kept for these flows, and sends it. Returns how many packets went. */
  async replay(pod: string, flowIds: ReadonlySet<bigint>): Promise<number> {
    return this.send(pod, await this.take(pod, ({ flowId }) => flowIds.has(flowId)));
  }

  /**
   * The same for packets of a node's own processes, given where each flow is on the wire. They were kept behind the node's
   * NAT, and would pass it again: it would take them for a connection of their own and give that another port. Addressed
   * to where they are going it lets them be, and so do our programs.
   */
  async replayBehindNat(pod: string, wires: ReadonlyMap<bigint, FlowTuple>): Promise<number> {
    const packets = await this.take(pod, ({ flowId }) => wires.has(flowId));
    return this.send(
      pod,
      packets.map((kept) => ({
        ...kept,
        packet: withEnds(kept.packet, wires.get(kept.flowId) as FlowTuple),
      })),
    );
  }

  /** Sends these from the pod. Returns how many went. */
  async send(pod: string, packets: readonly KeptPacket[]): Promise<number> {
    const { sent, refused } = await this.datapath.replay(pod, packets);
    this.counts.replayed.inc(sent);
    this.counts.replayRefused.inc(refused.length);
    return sent;
  }

  forget(pod: string): void {
    this.byPod.delete(pod);
  }
}
