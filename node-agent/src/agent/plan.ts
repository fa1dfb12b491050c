/**
 * Pure: from a workload's flows to what the target and the peers have to know, and at a peer from what it is told to rules.
 * What a flow's two ends believe (identity) stays; where it is on the wire changes on the workload's side only.
 */
import type { Endpoint, FlowRule, FlowStatus, FlowTuple, Protocol } from '../datapath/types.js';
import type { Plan } from '../protocol/effects.js';
import type { PeerFlow, TargetAddresses, TargetFlow } from '../protocol/messages.js';

/** One end of a flow, as the pod's transport knows it. */
export interface OwnFlow {
  protocol: Protocol;
  tuple: FlowTuple;
}

export interface SourceInput {
  /** the workload's flows, in identity */
  flows: readonly OwnFlow[];
  /** rules that the source pod has from earlier moves */
  rules: readonly FlowStatus[];
  addresses: TargetAddresses;
  /** the node that has an address on the wire */
  nodeOf: (address: string) => string | undefined;
}

export function planSource({ flows, rules, addresses, nodeOf }: SourceInput): Plan {
  const plan: Plan = { target: [], peers: {}, foreign: [] };
  const ports = new WirePorts();
  const nodes = new KnownNodes(nodeOf);
  for (const { protocol, tuple, wire } of onTheWire(flows, rules)) {
    const address = addressLike(wire.local.address, addresses);
    const peer: PeerFlow = { protocol, now: wire.local, next: wire.local, peer: wire.remote };
    const node = nodes.of(wire.remote.address);
    if (address === undefined || node === undefined) {
      plan.foreign.push(peer);
      continue;
    }
    peer.next = { address, port: ports.take(protocol, address, wire) };
    plan.target.push({ protocol, identity: tuple, wire: { local: peer.next, remote: wire.remote } });
    (plan.peers[node] ??= []).push(peer);
  }
  return plan;
}

/**
 * Each flow with where it is on the wire, once. A UDP session may have been seen under two names: a server that is bound to
 * no address answers from its new one, to who knows it by the old one. The name that has a rule counts.
 */
function onTheWire(
  flows: readonly OwnFlow[],
  rules: readonly FlowStatus[],
): Array<OwnFlow & { wire: FlowTuple }> {
  const moved = outbound(rules, (rule) => rule.identity);
  const withRule: Array<OwnFlow & { wire: FlowTuple }> = [];
  const asThemselves: OwnFlow[] = [];
  for (const flow of flows) {
    const rule = moved.size === 0 ? undefined : moved.get(tupleName(flow.protocol, flow.tuple));
    if (rule === undefined) asThemselves.push(flow);
    else withRule.push({ ...flow, wire: rule.wire });
  }
  const taken = new Set(withRule.map(({ protocol, wire }) => tupleName(protocol, wire)));
  const others = asThemselves.filter(({ protocol, tuple }) => {
    if (protocol === 'tcp') return true;
    const name = tupleName(protocol, tuple);
    if (taken.has(name)) return false;
    taken.add(name);
    return true;
  });
  return [...withRule, ...others.map((flow) => ({ ...flow, wire: flow.tuple }))];
}

/** The new address of the family of an old one. */
export function addressLike(old: string, addresses: TargetAddresses): string | undefined {
  return old.includes(':') ? addresses.ipv6 : addresses.ipv4;
}

/**
 * Two flows of a workload that moved may have the same port to the same peer (bound to different addresses): on the wire
 * they would be one, so the second takes another port.
 */
class WirePorts {
  /** local and remote port in one number, by what else a flow has on the wire; most flows have it in common */
  private readonly taken = new Map<string, Set<number>>();
  private last: { protocol: Protocol; address: string; peer: string; pairs: Set<number> } | undefined;

  take(protocol: Protocol, address: string, { local, remote }: FlowTuple): number {
    const pairs = this.pairs(protocol, address, remote.address);
    for (let port = local.port; ; port = port >= lastPort ? firstFreePort : port + 1) {
      const pair = port * 65_536 + remote.port;
      if (pairs.has(pair)) continue;
      pairs.add(pair);
      return port;
    }
  }

  private pairs(protocol: Protocol, address: string, peer: string): Set<number> {
    const { last } = this;
    if (last?.protocol === protocol && last.address === address && last.peer === peer) return last.pairs;
    const name = `${protocol} ${address} ${peer}`;
    const pairs = this.taken.get(name) ?? new Set();
    this.taken.set(name, pairs);
    this.last = { protocol, address, peer, pairs };
    return pairs;
  }
}

/** Asked once for each address: thousands of flows have the same one. */
class KnownNodes {
  private readonly known = new Map<string, string | undefined>();

  constructor(private readonly nodeOf: (address: string) => string | undefined) {}

  of(address: string): string | undefined {
    if (!this.known.has(address)) this.known.set(address, this.nodeOf(address));
    return this.known.get(address);
  }
}

const firstFreePort = 1024;
const lastPort = 65535;

/** At a peer: a rule to come, and the one that outbound packets follow until then. */
export interface PeerRule {
  rule: FlowRule;
  /** of an earlier hop; absent where the flow has never moved */
  previous?: FlowRule;
}

export interface PeerPod {
  name: string;
  /**
   * Processes of the node itself: their packets pass us after the node's own translations, and may have to leave by
   * another device than the one towards the old address.
   */
  hostNetwork: boolean;
  /** at least those of the ports that the flows in question have there; of the sockets below the same */
  rules: readonly FlowStatus[];
  /** names of the tuples of sockets whose far end is not where the flows in question are now (`tupleName`) */
  sockets: ReadonlySet<string>;
}

export interface PeerInput {
  migration: bigint;
  flows: readonly PeerFlow[];
  /** the pod of this node that has an address */
  podAt: (address: string) => PeerPod | undefined;
  /** a pod of this node has this address: others may be on its segment, and name its hardware address themselves */
  isHere: (address: string) => boolean;
  /** what the pod's transport calls the far end, where this node translates addresses on the way (kube-proxy) */
  calledBy: (flow: PeerFlow) => Endpoint | undefined;
  nextFlowId: () => bigint;
  /** a migration that was not switched here yet: its rules may be given up */
  isPending: (migration: bigint) => boolean;
}

export interface PeerPlan {
  /** by pod */
  rules: Map<string, PeerRule[]>;
  /** by pod, which of the flows its rules are for */
  indices: Map<string, number[]>;
  /** indices of flows that can not be moved: nobody has their peer address here, or they are not the sender's */
  unknown: number[];
}

/** The route was chosen for where the flow's other end was: by the host, or on a segment that it leaves. */
function rerouted({ hostNetwork }: PeerPod, isHere: boolean): { reroute?: true } {
  return hostNetwork || isHere ? { reroute: true } : {};
}

export function planPeer(input: PeerInput): PeerPlan {
  const { migration, flows, podAt, isHere, calledBy, nextFlowId } = input;
  const plan: PeerPlan = { rules: new Map(), indices: new Map(), unknown: [] };
  const known = new Map<PeerPod, KnownRules>();
  flows.forEach((flow, index) => {
    const pod = podAt(flow.peer.address);
    if (pod === undefined) {
      plan.unknown.push(index);
      return;
    }
    let atPod = known.get(pod);
    if (atPod === undefined) known.set(pod, (atPod = knownRules(pod, input)));
    const wireNow = { local: flow.peer, remote: flow.now };
    const there = atPod.byWire.get(tupleName(flow.protocol, wireNow));
    const called = pod.hostNetwork ? undefined : calledBy(flow);
    const identity = there?.identity ?? { local: flow.peer, remote: called ?? flow.now };
    if (isSomebodyElses(flow, { identity, there, calledBy, atPod })) {
      plan.unknown.push(index);
      return;
    }
    const rule: FlowRule = {
      flowId: there?.flowId ?? nextFlowId(),
      migration,
      protocol: flow.protocol,
      identity,
      wire: { local: flow.peer, remote: flow.next },
      state: 'pending',
      ...rerouted(pod, isHere(flow.now.address)),
    };
    const rules = listAt(plan.rules, pod.name);
    listAt(plan.indices, pod.name).push(index);
    rules.push(there === undefined ? { rule } : { rule, previous: ruleOf(there) });
  });
  return plan;
}

interface KnownRules {
  byWire: Map<string, FlowStatus>;
  /** identities of flows that other moves have taken elsewhere */
  moved: Map<string, FlowStatus>;
  sockets: ReadonlySet<string>;
}

function knownRules({ rules, sockets }: PeerPod, { migration, isPending }: PeerInput): KnownRules {
  const settled = rules.filter(
    ({ migration: owner, state }) => owner !== migration && (state === 'active' || !isPending(owner)),
  );
  const moved = outbound(settled, (rule) => rule.identity);
  return { byWire: outbound(rules, (rule) => rule.wire), moved, sockets };
}

/**
 * A node may move flows of its own address only, but where it says that they are, and will be, may be where another flow of
 * the same pod is. Either it hosted the workload before: then the flow has gone from there. Or what would come in as this
 * flow from now on comes in as that one already.
 */
function isSomebodyElses(
  { protocol, peer, next, now }: PeerFlow,
  {
    identity,
    there,
    calledBy,
    atPod: { byWire, moved, sockets },
  }: {
    identity: FlowTuple;
    there: FlowStatus | undefined;
    calledBy: PeerInput['calledBy'];
    atPod: KnownRules;
  },
): boolean {
  const own = tupleName(protocol, identity);
  if (there === undefined && moved.has(own)) return true;
  const onWire = byWire.get(tupleName(protocol, { local: peer, remote: next }));
  if (onWire !== undefined && tupleName(protocol, onWire.identity) !== own) return true;
  const remote = calledBy({ protocol, now: next, next: now, peer }) ?? next;
  const native = tupleName(protocol, { local: peer, remote });
  return native !== own && sockets.has(native) && !moved.has(native);
}

function listAt<Item>(lists: Map<string, Item[]>, name: string): Item[] {
  const list = lists.get(name) ?? [];
  lists.set(name, list);
  return list;
}

/** What the peers' rules of a migration are, read back from the data plane after a restart. */
export function recoverPeerRules(migration: bigint, rules: readonly FlowStatus[]): PeerRule[] {
  const followed = new Map(
    rules
      .filter((rule) => rule.migration !== migration && rule.state !== 'inbound')
      .map((rule) => [rule.flowId, rule]),
  );
  return rules
    .filter((rule) => rule.migration === migration)
    .map((status) => {
      const previous = followed.get(status.flowId);
      const rule = ruleOf(status);
      return previous === undefined ? { rule } : { rule, previous: ruleOf(previous) };
    });
}

export function targetRule(flow: TargetFlow, migration: bigint, flowId: bigint, runs: boolean): FlowRule {
  const { protocol, identity, wire } = flow;
  return { flowId, migration, protocol, identity, wire, state: runs ? 'active' : 'held' };
}

/** A flow of the moved workload, as its peers know it. */
export function peerFlowOf(rule: FlowRule | FlowStatus): PeerFlow {
  return {
    protocol: rule.protocol,
    now: rule.wire.local,
    next: rule.wire.local,
    peer: rule.wire.remote,
  };
}

/** Rules of flows that no socket has any more. */
export function endedRules(rules: readonly FlowStatus[], alive: readonly OwnFlow[]): FlowStatus[] {
  const names = new Set(alive.map(({ protocol, tuple }) => tupleName(protocol, tuple)));
  return rules.filter(({ protocol, identity }) => !names.has(tupleName(protocol, identity)));
}

export function ruleOf(status: FlowStatus): FlowRule {
  const { flowId, migration, protocol, identity, wire } = status;
  return {
    flowId,
    migration,
    protocol,
    identity,
    wire,
    state: status.state === 'inbound' ? 'pending' : status.state,
    ...(status.reroute ? { reroute: true } : {}),
  };
}

/** Rules that outbound packets follow now, by a tuple of theirs. */
function outbound(
  rules: readonly FlowStatus[],
  tupleOf: (rule: FlowStatus) => FlowTuple,
): Map<string, FlowStatus> {
  return new Map(
    rules
      .filter(({ state }) => state !== 'inbound' && state !== 'pending' && state !== 'refused')
      .map((rule) => [tupleName(rule.protocol, tupleOf(rule)), rule]),
  );
}

export function tupleName(protocol: string, { local, remote }: FlowTuple): string {
  return `${protocol} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
}

/** As the protocol writes what the data plane numbers. */
export function migrationId(migration: bigint): string {
  return migration.toString(16).padStart(16, '0');
}
