/** Whose connect() is resolved: this node's pods, and the host's own processes where the configuration says so. */
import type { EbpfServices } from '../../datapath/services/index.js';
import { native } from '../../native.js';
import { OneAtATime } from '../one-at-a-time.js';
import type { AgentPod, PodRegistry } from '../pods.js';
import type { Client } from './choice.js';

export interface ClientsDeps {
  services: Pick<EbpfServices, 'setClients' | 'addClient' | 'removeClient'>;
  pods: PodRegistry;
  /** path of the host's own namespace, where its processes are clients too */
  hostNetns?: string;
  onError: (error: unknown) => void;
}

/** The host's own processes, where no pod of the resources stands for them. */
export const hostName = 'host/processes';

export class Clients {
  private readonly pods = new Map<bigint, AgentPod>();
  private readonly cookies = new Map<string, bigint>();
  private readonly turns = new OneAtATime();
  private readonly listeners: Array<() => void> = [];

  constructor(private readonly deps: ClientsDeps) {}

  /** Resolves when all pods that are known now are clients; whoever was one before and is none now is no more. */
  async follow(): Promise<void> {
    const { pods, hostNetns, services } = this.deps;
    pods.onPut((pod) => this.inTurn(pod.netns, () => this.put(pod)));
    pods.onGone((pod) => this.inTurn(pod.netns, () => this.gone(pod)));
    if (hostNetns !== undefined) await this.put(hostPod(hostNetns));
    for (const pod of pods.all()) await this.put(pod).catch(this.deps.onError);
    services.setClients([...this.pods].map(([cookie, pod]) => ({ cookie, number: clientNumber(pod.name) })));
  }

  podOf(cookie: bigint): AgentPod | undefined {
    return this.pods.get(cookie);
  }

  /** As the kernel knows a pod, or the host's processes; undefined where nothing is resolved for it. */
  find(name: string): Client | undefined {
    const { pods, hostNetns } = this.deps;
    const netns = name === hostName ? hostNetns : pods.get(name)?.netns;
    const cookie = netns === undefined ? undefined : this.cookies.get(netns);
    const pod = cookie === undefined ? undefined : this.pods.get(cookie);
    // Pods that share a namespace are one client, under the name of one of them.
    return cookie === undefined || pod === undefined ? undefined : { cookie, number: clientNumber(pod.name) };
  }

  cookieOf(netns: string): bigint | undefined {
    return this.cookies.get(netns);
  }

  all(): AgentPod[] {
    return [...this.pods.values()];
  }

  /** Called when a client came or went. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  private async put(pod: AgentPod): Promise<void> {
    const { cookie } = await native().netnsIdentity(pod.netns);
    const known = this.pods.get(cookie);
    this.pods.set(cookie, pod);
    this.cookies.set(pod.netns, cookie);
    if (known?.name !== pod.name) this.deps.services.addClient({ cookie, number: clientNumber(pod.name) });
    if (known !== pod) this.changed();
  }

  private gone({ netns }: AgentPod): Promise<void> {
    const cookie = this.cookies.get(netns);
    this.cookies.delete(netns);
    if (cookie === undefined) return Promise.resolve();
    const heir = this.heirOf(netns, cookie);
    if (heir === undefined) {
      this.pods.delete(cookie);
      this.deps.services.removeClient(cookie);
    } else {
      this.cookies.set(heir.netns, cookie);
      this.pods.set(cookie, heir);
      this.deps.services.addClient({ cookie, number: clientNumber(heir.name) });
    }
    this.changed();
    return Promise.resolve();
  }

  /** Pods of the host's network share its namespace with each other and with the host's own processes. */
  private heirOf(netns: string, cookie: bigint): AgentPod | undefined {
    const { hostNetns, pods } = this.deps;
    const all = [...pods.all(), ...(hostNetns === undefined ? [] : [hostPod(hostNetns)])];
    return all.find((pod) => pod.netns === netns || this.cookies.get(pod.netns) === cookie);
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }

  private inTurn(netns: string, work: () => Promise<void>): void {
    this.turns.run(netns, work).catch(this.deps.onError);
  }
}

function hostPod(netns: string): AgentPod {
  return { name: hostName, netns, interfaces: [], addresses: [], hostNetwork: true, trackUdp: false };
}

/** 32 bits of a pod's name (FNV-1a): the same on every node and after every restart. */
export function clientNumber(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
