/**
 * The data plane as the rest of the agent sees it: pods, flow rules, holds, kept packets, counters. Implementations:
 * `ebpf.ts` (the real one) and `fake.ts` (unit tests); both pass the suite in `contract.ts`.
 */
import type { salReason } from './abi.generated.js';

export type Protocol = 'tcp' | 'udp';

export interface Endpoint {
  /** IPv4 or IPv6 in text; an IPv4-mapped IPv6 address counts as IPv4 */
  address: string;
  port: number;
}

/** One tuple, seen from the pod. */
export interface FlowTuple {
  local: Endpoint;
  remote: Endpoint;
}

/**
 * pending: inbound packets from the new location are understood already, outbound ones still go where they went.
 * held: outbound packets are kept back. active: both ways are translated. refused: what comes from its wire is dropped, and
 * that is all; for a flow that was given to another replica before it was established, so that a late answer of the first is
 * not taken for one of the second.
 */
export type FlowState = 'pending' | 'held' | 'active' | 'refused';

/** A flow's end in one pod, and where one migration puts it on the wire. */
export interface FlowRule {
  /** names this flow end on its node; the same for every hop of a chain */
  flowId: bigint;
  /** owner of the rule: released by it and by nobody else */
  migration: bigint;
  protocol: Protocol;
  /** what the pod's transport believes, fixed for life */
  identity: FlowTuple;
  /** what the network sees */
  wire: FlowTuple;
  state: FlowState;
  /**
   * Look the route up again after the translation: for flows of a host's own processes, and of pods whose segment the
   * flow may come to or leave. Both ways: what comes in is taken in where packets from its identity come in.
   */
  reroute?: boolean;
}

export interface FlowStatus extends Omit<FlowRule, 'state'> {
  pod: string;
  /** `inbound`: a hop that outbound packets don't take (not yet, or not any more) */
  state: FlowState | 'inbound';
  packetsOut: bigint;
  bytesOut: bigint;
  packetsIn: bigint;
  bytesIn: bigint;
}

export interface PodSpec {
  /** namespaced name: `namespace/name` */
  name: string;
  /** path of the pod's network namespace */
  netns: string;
  /** its devices: `eth0` as a rule; several where it is the host's own namespace. All are translated alike. */
  interfaces: string[];
}

export interface PodStatus extends PodSpec {
  attached: boolean;
  held: boolean;
  /** no connection is opened, either way */
  quiet: boolean;
  /** its UDP sessions are noted */
  tracked: boolean;
  /** flows of guests to services are resolved by the packets that open them */
  guests: boolean;
  /** flow ends that have a rule */
  flows: number;
}

export type DropReason = Exclude<keyof typeof salReason, 'NONE'>;

export interface DropCount {
  packets: bigint;
  bytes: bigint;
}

/** A packet that a hold kept: what is replayed at the switch. */
export interface KeptPacket {
  pod: string;
  flowId: bigint;
  protocol: Protocol;
  direction: 'egress' | 'ingress';
  /** in identity */
  tuple: FlowTuple;
  kind: 'segment' | 'acknowledgement' | 'reset' | 'datagram';
  /** whole IP packet in identity, checksums complete */
  packet: Buffer;
}

export interface ReplayResult {
  sent: number;
  refused: Array<{ tuple: FlowTuple; code: string }>;
}

/** Somebody with whom a pod exchanges datagrams. */
export interface Session {
  protocol: 'udp';
  /** in identity */
  tuple: FlowTuple;
  /** when a datagram went either way last, ms since the epoch */
  lastSeen: number;
}

/** Which rules to remove: those of a migration, of some flows, or of some flows within a migration. */
export interface RuleSelector {
  migration?: bigint;
  flowIds?: readonly bigint[];
}

export interface WantedFlows {
  /** whose rules they are */
  migration?: bigint;
  /** their own end has one of these, as itself or on the wire */
  localPorts?: ReadonlySet<number>;
}

export interface Datapath {
  /**
   * Make a pod known, or its devices where it is known already and they have changed. Nothing is attached: that happens
   * with its first rule or hold, and ends with its last.
   * @throws ServalError ERR_NETNS_GONE, ERR_NOT_FOUND (device), ERR_CONFLICT (the name has another namespace),
   * ERR_BAD_INPUT (no devices, or more than 32)
   */
  addPod(pod: PodSpec): Promise<void>;
  /** Forget a pod and everything that it has here. Unknown names are fine. */
  removePod(name: string): Promise<void>;
  pods(): Promise<PodStatus[]>;
  /**
   * Install or replace rules: all of them, or none and an error. Inbound halves become visible before outbound ones.
   * @throws ServalError ERR_BAD_INPUT, ERR_NOT_FOUND (pod), ERR_TABLE_FULL, ERR_NETNS_GONE
   */
  apply(pod: string, rules: readonly FlowRule[]): Promise<void>;
  /**
   * Set the outbound state of rules that were applied (their wire must be the one that the flow has now).
   * @throws ServalError ERR_NOT_FOUND where a rule is absent; none is changed then
   */
  setState(pod: string, rules: readonly FlowRule[], state: FlowState): Promise<void>;
  /** Outbound halves go first. Returns how many rules were removed. */
  remove(pod: string, selector: RuleSelector): Promise<number>;
  /** Keep everything back, both ways, but neighbour discovery. New connections are kept, as `quiescePod` does. */
  holdPod(pod: string, held: boolean): Promise<void>;
  /**
   * Keep what opens a connection that no rule knows, either way, until it is taken by `takeKept`; all else passes. It and
   * `holdPod` are independent of each other; both outlive the agent.
   */
  quiescePod(pod: string, quiet: boolean): Promise<void>;
  /**
   * Note the pod's UDP sessions from now on, or no more: for services that ask for the mobility of unconnected UDP. What
   * was noted is forgotten when it ends. Outlives the agent.
   */
  trackUdp(pod: string, tracked: boolean): Promise<void>;
  /**
   * Guests are behind its devices, whose connect() nobody sees: from now on, or no more, their flows to services are resolved
   * by the packets that open them. Outlives the agent.
   */
  resolveGuests(pod: string, guests: boolean): Promise<void>;
  /**
   * Sessions of a tracked pod in which something was sent less than this long ago; connected sockets are among them,
   * multicast isn't. Empty where the pod is not tracked. Of all pods 65,536 are kept.
   */
  sessions(pod: string, maxIdleMs: number): Promise<Session[]>;
  /** Of a pod, or of all. Of 100,000 flows those that are not wanted cost 20 ms, the others 0.7 s. */
  flows(pod?: string, wanted?: WantedFlows): Promise<FlowStatus[]>;
  /** What holds have kept for this pod, each packet once; what the replay needs comes out whole. */
  takeKept(pod: string): Promise<KeptPacket[]>;
  /** Send kept packets from the pod, through its routing and its programs. */
  replay(pod: string, packets: readonly KeptPacket[]): Promise<ReplayResult>;
  drops(): Promise<Record<DropReason, DropCount>>;
  /** Give up this process's handles. The data plane goes on without it. */
  close(): Promise<void>;
}
