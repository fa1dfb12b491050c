import { describe, expect, it } from '@jest/globals';
import type { FlowStatus, FlowTuple, SocketFlow } from '@serval/node-agent';
import { planMove, type PlanInput, type PlanPod } from './plan.js';

const a = { address: '10.1.1.2', port: 6379 };
const b = { address: '10.2.1.2', port: 6379 };
const c = { address: '10.1.1.3', port: 6379 };
const client = { address: '10.3.1.2', port: 40001 };
const atServer = (local: typeof a): FlowTuple => ({ local, remote: client });
const atClient = (remote: typeof a): FlowTuple => ({ local: client, remote });
const socket: SocketFlow = { protocol: 'tcp', tuple: atServer(a), state: 1 };

function status(pod: string, flowId: bigint, identity: FlowTuple, wire: FlowTuple): FlowStatus {
  const counters = { packetsOut: 0n, bytesOut: 0n, packetsIn: 0n, bytesIn: 0n };
  return { pod, flowId, migration: 1n, protocol: 'tcp', identity, wire, state: 'active', ...counters };
}

function plan(peer: PlanPod | undefined, source: PlanPod, target: string, migration = 1n) {
  let next = 100n;
  const input: PlanInput = {
    migration,
    sockets: [socket],
    source,
    targetAddress: () => target,
    peerAt: (address) => (address === client.address ? peer : undefined),
    nextFlowId: () => next++,
  };
  return planMove(input);
}

describe('the rules of a move', () => {
  it('leave the identity and change the workload side of the wire, at both ends', () => {
    const { source, target, peers, unreachable } = plan(
      { name: 'p', flows: [] },
      { name: 's', flows: [] },
      b.address,
    );
    expect(source).toMatchObject([{ flowId: 100n, identity: atServer(a), wire: atServer(a), state: 'held' }]);
    expect(target).toMatchObject([{ flowId: 100n, identity: atServer(a), wire: atServer(b) }]);
    expect(peers.get('p')).toMatchObject([{ flowId: 101n, identity: atClient(a), wire: atClient(b) }]);
    expect(unreachable).toEqual([]);
  });

  it('go on from where a flow that has moved before is on the wire', () => {
    const moved = {
      peer: { name: 'p', flows: [status('p', 7n, atClient(a), atClient(b))] },
      source: { name: 's', flows: [status('s', 5n, atServer(a), atServer(b))] },
    };
    const { source, target, peers } = plan(moved.peer, moved.source, c.address, 2n);
    expect(source).toMatchObject([{ flowId: 5n, migration: 2n, wire: atServer(b) }]);
    expect(target).toMatchObject([{ flowId: 5n, identity: atServer(a), wire: atServer(c) }]);
    expect(peers.get('p')).toMatchObject([
      { flowId: 7n, migration: 2n, identity: atClient(a), wire: atClient(c) },
    ]);
  });

  it('put a flow that returns on the wire as itself', () => {
    const source = { name: 's', flows: [status('s', 5n, atServer(a), atServer(b))] };
    const { target } = plan({ name: 'p', flows: [] }, source, a.address);
    expect(target).toMatchObject([{ identity: atServer(a), wire: atServer(a) }]);
  });

  it('name the flows whose peer can not follow', () => {
    const { unreachable, target } = plan(undefined, { name: 's', flows: [] }, b.address);
    expect(unreachable).toEqual([socket]);
    expect(target).toEqual([]);
  });
});
