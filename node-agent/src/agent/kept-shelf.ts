/**
 * Packets that holds have kept, until those who may send them ask: several migrations may hold flows of one pod, and the
 * data plane hands out a pod's packets all at once.
 */
import type { Datapath, KeptPacket } from '../datapath/types.js';

export class KeptShelf {
  private readonly byPod = new Map<string, KeptPacket[]>();

  constructor(private readonly datapath: Datapath) {}

  /** Takes what was kept for this pod and is wanted; the rest stays. */
  async take(pod: string, wanted: (packet: KeptPacket) => boolean): Promise<KeptPacket[]> {
    const all = [...(this.byPod.get(pod) ?? []), ...(await this.datapath.takeKept(pod))];
    const rest = all.filter((packet) => !wanted(packet));
    if (rest.length > 0) this.byPod.set(pod, rest);
    else this.byPod.delete(pod);
    return rest.length === 0 ? all : all.filter(wanted);
  }

  /** Takes what was kept for these flows, and sends it. Returns how many packets went. */
  async replay(pod: string, flowIds: ReadonlySet<bigint>): Promise<number> {
    const packets = await this.take(pod, ({ flowId }) => flowIds.has(flowId));
    return (await this.datapath.replay(pod, packets)).sent;
  }

  forget(pod: string): void {
    this.byPod.delete(pod);
  }
}
