/** The pods of this node: which there are, and who has an address. */
import { canonicalAddress } from '../datapath/address.js';
import { apiVersion, type MoverName, type ServalPod } from '@serval/api';
import type { Datapath } from '../datapath/types.js';
import { workloadUid } from './workload-uid.js';

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
  /** their flows to services are resolved by the packets that open them */
  guests?: boolean;
  workload?: HostedWorkload;
}

export class PodRegistry {
  private readonly byName = new Map<string, AgentPod>();
  private readonly byAddress = new Map<string, AgentPod>();
  private readonly goneListeners: Array<(pod: AgentPod) => void> = [];
  private readonly putListeners: Array<(pod: AgentPod) => void> = [];

  constructor(private readonly datapath: Datapath) {}

  /** Make a pod known, or what has changed about it. @throws ServalError ERR_NETNS_GONE, ERR_NOT_FOUND, ERR_CONFLICT */
  async put(pod: AgentPod): Promise<void> {
    const { name, netns, interfaces, trackUdp, guests = false } = pod;
    await this.datapath.addPod({ name, netns, interfaces });
    if (trackUdp || this.byName.get(name)?.trackUdp) await this.datapath.trackUdp(name, trackUdp);
    if (guests || this.byName.get(name)?.guests === true) await this.datapath.resolveGuests(name, guests);
    this.keep(pod);
  }

  /** The workload that a known pod has waited for runs in it now. Nothing else of it changes, so nothing has to be looked at. */
  occupy(name: string, workload: HostedWorkload): void {
    const pod = this.byName.get(name);
    if (pod !== undefined) this.keep({ ...pod, workload });
  }

  /** Called when a pod is there, or has changed. */
  onPut(listener: (pod: AgentPod) => void): void {
    this.putListeners.push(listener);
  }

  /** Called when a pod goes: a later one of its name is another pod. */
  onGone(listener: (pod: AgentPod) => void): void {
    this.goneListeners.push(listener);
  }

  /** Its rules go too. Unknown names are fine. */
  async remove(name: string): Promise<void> {
    const pod = this.byName.get(name);
    this.forget(name);
    if (pod !== undefined) for (const listener of this.goneListeners) listener(pod);
    await this.datapath.removePod(name);
  }

  get(name: string): AgentPod | undefined {
    return this.byName.get(name);
  }

  /** The pod that this workload runs in. */
  hosting(uid: string): AgentPod | undefined {
    return this.all().find(({ workload }) => workload?.uid === uid);
  }

  at(address: string): AgentPod | undefined {
    return this.byAddress.get(address);
  }

  /** A workload that runs here has this name, or this uid. A pod that only waits for one does not count. */
  hostsWorkload({ name, uid }: { name: string; uid: string }): boolean {
    return this.all().some(
      (pod) => pod.workload !== undefined && (pod.name === name || pod.workload.uid === uid),
    );
  }

  all(): AgentPod[] {
    return [...this.byName.values()];
  }

  private keep(pod: AgentPod): void {
    this.forget(pod.name);
    this.byName.set(pod.name, pod);
    for (const address of pod.addresses) this.byAddress.set(canonicalAddress(address), pod);
    for (const listener of this.putListeners) listener(pod);
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

/** As a resource of directory mode declares it. */
export function podOf({ metadata, spec }: ServalPod): AgentPod {
  const {
    netns,
    interfaces,
    addresses,
    hostNetwork = false,
    trackUdp = false,
    guests = false,
    process,
  } = spec;
  const movable = process !== undefined || spec.mover === 'external';
  return {
    name: `${metadata.namespace ?? 'default'}/${metadata.name}`,
    netns,
    interfaces,
    addresses,
    hostNetwork,
    trackUdp,
    ...(guests ? { guests } : {}),
    ...(movable ? { workload: workloadOf(spec) } : {}),
  };
}

function workloadOf({
  netns,
  process,
  uid,
  epoch,
  mover,
  identityAddresses,
}: ServalPod['spec']): HostedWorkload {
  return {
    uid: uid ?? workloadUid(netns, process?.pid),
    epoch: epoch ?? 0,
    mover: mover ?? 'criu',
    identityAddresses: identityAddresses ?? [],
    ...(process === undefined ? {} : { process }),
  };
}

/** A workload that has arrived, as the resource that declares it from now on. */
export function resourceOf(pod: AgentPod, node: string): ServalPod {
  const [namespace = 'default', name = ''] = pod.name.split('/');
  const { netns, interfaces, addresses, trackUdp, guests, workload } = pod;
  return {
    apiVersion,
    kind: 'ServalPod',
    metadata: { name, namespace },
    spec: {
      node,
      netns,
      interfaces,
      addresses,
      ...(trackUdp ? { trackUdp } : {}),
      ...(guests === true ? { guests } : {}),
      ...(workload === undefined
        ? {}
        : {
            mover: workload.mover as MoverName,
            uid: workload.uid,
            epoch: workload.epoch,
            identityAddresses: workload.identityAddresses,
            ...(workload.process === undefined ? {} : { process: workload.process }),
          }),
    },
  };
}
