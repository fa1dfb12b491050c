/** The pods of this node: which there are, and who has an address. */
import { canonicalAddress } from '../datapath/address.js';
import type { Datapath } from '../datapath/types.js';

/** What a move has to know of a workload that runs in a pod. */
export interface HostedWorkload {
  uid: string;
  /** how often it has moved */
  epoch: number;
  mover: string;
  /** absent where its mover is external */
  process?: { pausePid: number; pid: number; cgroup: string };
  /** addresses of earlier places that its sockets may be bound to */
  identityAddresses: string[];
}

export interface AgentPod {
  /** namespaced name */
  name: string;
  netns: string;
  interfaces: string[];
  addresses: string[];
  hostNetwork: boolean;
  trackUdp: boolean;
  workload?: HostedWorkload;
}

export class PodRegistry {
  private readonly byName = new Map<string, AgentPod>();
  private readonly byAddress = new Map<string, AgentPod>();

  constructor(private readonly datapath: Datapath) {}

  /** Make a pod known, or what has changed about it. @throws ServalError ERR_NETNS_GONE, ERR_NOT_FOUND, ERR_CONFLICT */
  async put(pod: AgentPod): Promise<void> {
    const { name, netns, interfaces, trackUdp } = pod;
    await this.datapath.addPod({ name, netns, interfaces });
    if (trackUdp || this.byName.get(name)?.trackUdp) await this.datapath.trackUdp(name, trackUdp);
    this.forget(name);
    this.byName.set(name, pod);
    for (const address of pod.addresses) this.byAddress.set(canonicalAddress(address), pod);
  }

  /** Its rules go too. Unknown names are fine. */
  async remove(name: string): Promise<void> {
    this.forget(name);
    await this.datapath.removePod(name);
  }

  get(name: string): AgentPod | undefined {
    return this.byName.get(name);
  }

  at(address: string): AgentPod | undefined {
    return this.byAddress.get(address);
  }

  all(): AgentPod[] {
    return [...this.byName.values()];
  }

  private forget(name: string): void {
    const pod = this.byName.get(name);
    this.byName.delete(name);
    for (const address of pod?.addresses ?? []) {
      const canonical = canonicalAddress(address);
      if (this.byAddress.get(canonical) === pod) this.byAddress.delete(canonical);
    }
  }
}
