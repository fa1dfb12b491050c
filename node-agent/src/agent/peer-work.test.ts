import { describe, expect, it } from '@jest/globals';
import type { Datapath, FlowStatus, KeptPacket } from '../datapath/types.js';
import { KeptShelf } from './kept-shelf.js';
import { PeerWorks, type PeerDeps } from './peer-work.js';

const migration = '00000000000000aa';
const pod = 'shop/client';

function held(flowId: bigint): FlowStatus {
  const local = { address: '10.1.0.2', port: 40_000 + Number(flowId) };
  return {
    pod,
    flowId,
    migration: BigInt(`0x${migration}`),
    protocol: 'tcp',
    identity: { local, remote: { address: '10.2.0.2', port: 80 } },
    wire: { local, remote: { address: '10.3.0.2', port: 80 } },
    state: 'held',
  } as FlowStatus;
}

/** A data plane with these flows, which tells what was asked of it. */
function plane(flows: FlowStatus[], kept: KeptPacket[]) {
  const done: string[] = [];
  const ids = (items: ReadonlyArray<{ flowId: bigint }>): string =>
    items.map(({ flowId }) => flowId).join(' ');
  const datapath = {
    flows: () => Promise.resolve(flows),
    setState: (_: string, rules: FlowStatus[], state: string) => {
      if (rules.length > 0) done.push(`${state} ${ids(rules)}`);
      return Promise.resolve();
    },
    apply: () => Promise.resolve(),
    takeKept: () => Promise.resolve(kept.splice(0)),
    replay: (_: string, packets: KeptPacket[]) => {
      if (packets.length > 0) done.push(`sent ${ids(packets)}`);
      return Promise.resolve({ sent: packets.length, refused: [] });
    },
  } as unknown as Datapath;
  return { datapath, done };
}

function peerOf(datapath: Datapath): PeerWorks {
  const counter = { inc: () => undefined };
  const agentPod = { name: pod, addresses: ['10.1.0.2'], netns: '/none', hostNetwork: false };
  return new PeerWorks({
    datapath,
    pods: { all: () => [agentPod], get: () => agentPod, at: () => agentPod, onGone: () => undefined },
    kept: new KeptShelf(datapath, { held: counter, replayed: counter, replayRefused: counter }),
    staleRoutes: { left: () => undefined },
    arriving: () => '',
  } as unknown as PeerDeps);
}

describe('a peer', () => {
  it('switches the flows first that somebody waits on', async () => {
    const kept = [{ pod, flowId: 2n, kind: 'segment', direction: 'egress' } as KeptPacket];
    const { datapath, done } = plane([held(1n), held(2n), held(3n)], kept);
    expect(await peerOf(datapath).flip(migration, { strays: [] })).toEqual({ replayed: 1 });
    expect(done).toEqual(['active 2', 'sent 2', 'active 1 3']);
  });

  it('sends what was kept of the others in between as well', async () => {
    const kept: KeptPacket[] = [];
    const { datapath, done } = plane([held(1n), held(2n)], kept);
    kept.push({ pod, flowId: 2n } as KeptPacket);
    const setState = datapath.setState.bind(datapath);
    datapath.setState = async (name, rules, state) => {
      await setState(name, rules, state);
      if (rules.some(({ flowId }) => flowId === 2n)) kept.push({ pod, flowId: 1n } as KeptPacket);
    };
    expect(await peerOf(datapath).flip(migration, { strays: [] })).toEqual({ replayed: 2 });
    expect(done).toEqual(['active 2', 'sent 2', 'active 1', 'sent 1']);
  });
});
