/**
 * Pure: from a workload's flows to the rules that a move needs, at the target and at every peer. What a flow's two
 * ends believe (identity) stays; where it is on the wire changes on the workload's side only.
 */
import type { FlowRule, FlowStatus, FlowTuple, SocketFlow } from '@serval/node-agent';

/** A pod as the plan knows it: where it is on the wire, and the rules that it has already. */
export interface PlanPod {
  name: string;
  flows: readonly FlowStatus[];
}

export interface PlanInput {
  migration: bigint;
  /** the workload's sockets, in the source pod */
  sockets: readonly SocketFlow[];
  source: PlanPod;
  /** address of the target pod, of the family of the one given */
  targetAddress: (old: string) => string;
  /** the pod that has this address on the wire */
  peerAt: (address: string) => PlanPod | undefined;
  /** a fresh flowID */
  nextFlowId: () => bigint;
}

export interface MovePlan {
  /** at the target pod: identity as ever, wire from the new address */
  target: FlowRule[];
  /** at each peer pod, by name */
  peers: Map<string, FlowRule[]>;
  /** at the source pod: on the wire where it is now, to be held */
  source: FlowRule[];
  /** flows whose peer runs no Serval: they can not be kept */
  unreachable: SocketFlow[];
}

export function planMove(input: PlanInput): MovePlan {
  const plan: MovePlan = { target: [], peers: new Map(), source: [], unreachable: [] };
  const atSource = byTuple(input.source.flows, (flow) => flow.identity);
  const atPeers = new Map<PlanPod, Map<string, FlowStatus>>();
  for (const socket of input.sockets) {
    const here = atSource.get(tupleName(socket.protocol, socket.tuple));
    // Never moved: the flow is on the wire as itself.
    const wire = here?.wire ?? socket.tuple;
    const peer = input.peerAt(wire.remote.address);
    if (peer === undefined) {
      plan.unreachable.push(socket);
      continue;
    }
    const next: FlowTuple = {
      local: { address: input.targetAddress(wire.local.address), port: wire.local.port },
      remote: wire.remote,
    };
    const rule = { migration: input.migration, protocol: socket.protocol, state: 'held' as const };
    const flowId = here?.flowId ?? input.nextFlowId();
    plan.source.push({ ...rule, flowId, identity: socket.tuple, wire });
    plan.target.push({ ...rule, flowId, identity: socket.tuple, wire: next });
    const atPeer = atPeers.get(peer) ?? byTuple(peer.flows, (flow) => mirror(flow.wire));
    atPeers.set(peer, atPeer);
    const there = atPeer.get(tupleName(socket.protocol, wire));
    const end = { flowId: there?.flowId ?? input.nextFlowId(), identity: there?.identity ?? mirror(wire) };
    rulesOf(plan, peer.name).push({ ...rule, ...end, wire: mirror(next) });
  }
  return plan;
}

function rulesOf(plan: MovePlan, peer: string): FlowRule[] {
  const rules = plan.peers.get(peer) ?? [];
  plan.peers.set(peer, rules);
  return rules;
}

function byTuple(
  flows: readonly FlowStatus[],
  tupleOf: (flow: FlowStatus) => FlowTuple,
): Map<string, FlowStatus> {
  return new Map(
    flows
      .filter((flow) => flow.state !== 'inbound')
      .map((flow) => [tupleName(flow.protocol, tupleOf(flow)), flow]),
  );
}

/** The same tuple from the other end. */
function mirror(tuple: FlowTuple): FlowTuple {
  return { local: tuple.remote, remote: tuple.local };
}

function tupleName(protocol: string, tuple: FlowTuple): string {
  return `${protocol} ${tuple.local.address} ${tuple.local.port} ${tuple.remote.address} ${tuple.remote.port}`;
}
