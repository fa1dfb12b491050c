import { describe, expect, it } from '@jest/globals';
import type { FlowStatus, FlowTuple } from '../datapath/types.js';
import type { PeerFlow } from '../protocol/messages.js';
import { planPeer, planSource, recoverPeerRules, tupleName, type OwnFlow, type PeerPod } from './plan.js';

const a = { address: '10.1.1.2', port: 6379 };
const b = { address: '10.2.1.2', port: 6379 };
const c = { address: '10.1.1.3', port: 6379 };
const client = { address: '10.3.1.2', port: 40001 };
const virtual = { address: '10.96.0.10', port: 80 };
const atServer = (local: typeof a): FlowTuple => ({ local, remote: client });
const atClient = (remote: typeof a): FlowTuple => ({ local: client, remote });
const flow: OwnFlow = { protocol: 'tcp', tuple: atServer(a) };
const nodeOf = (address: string): string | undefined => (address === client.address ? 'n3' : undefined);

function status(
  flowId: bigint,
  identity: FlowTuple,
  wire: FlowTuple,
  more: Partial<FlowStatus> = {},
): FlowStatus {
  const counters = { packetsOut: 0n, bytesOut: 0n, packetsIn: 0n, bytesIn: 0n };
  return {
    pod: 'p',
    flowId,
    migration: 1n,
    protocol: 'tcp',
    identity,
    wire,
    state: 'active',
    ...counters,
    ...more,
  };
}

describe('what the source tells', () => {
  const plan = (flows: OwnFlow[], rules: FlowStatus[], ipv4: string) =>
    planSource({ flows, rules, addresses: { ipv4 }, nodeOf });

  it('leaves the identity and changes the workload side of the wire', () => {
    expect(plan([flow], [], b.address)).toEqual({
      target: [{ protocol: 'tcp', identity: atServer(a), wire: atServer(b) }],
      peers: { n3: [{ protocol: 'tcp', now: a, next: b, peer: client }] },
      foreign: [],
    });
  });

  it('goes on from where a flow that has moved before is on the wire, and may put it back as itself', () => {
    const moved = [status(5n, atServer(a), atServer(b))];
    expect(plan([flow], moved, c.address)).toMatchObject({
      target: [{ identity: atServer(a), wire: atServer(c) }],
      peers: { n3: [{ now: b, next: c }] },
    });
    expect(plan([flow], moved, a.address).target).toMatchObject([
      { identity: atServer(a), wire: atServer(a) },
    ]);
  });

  it('does not take a hop that packets do not follow for the place of a flow', () => {
    const hops = [
      status(5n, atServer(a), atServer(b)),
      status(5n, atServer(a), atServer(c), { migration: 2n, state: 'inbound' }),
    ];
    expect(plan([flow], hops, c.address).peers['n3']).toMatchObject([{ now: b }]);
  });

  it('gives another port to a second flow that would look like the first on the wire', () => {
    const native: OwnFlow = { protocol: 'tcp', tuple: atServer(b) };
    const { target } = plan(
      [flow, native],
      [status(5n, atServer(a), atServer({ ...b, port: 7000 }))],
      c.address,
    );
    expect(target.map(({ wire }) => wire.local.port)).toEqual([7000, 6379]);
    const both = plan([flow, native], [], c.address);
    expect(both.target.map(({ wire }) => wire.local.port)).toEqual([6379, 6380]);
    expect(both.peers['n3']?.map(({ next }) => next.port)).toEqual([6379, 6380]);
  });

  it('names flows whose other end is nowhere, and those of a family that the target lacks', () => {
    const elsewhere = {
      protocol: 'tcp',
      tuple: { local: a, remote: { address: '192.0.2.1', port: 1 } },
    } as const;
    const six = {
      protocol: 'tcp',
      tuple: { local: { address: 'fd00::2', port: 1 }, remote: { address: 'fd00::3', port: 2 } },
    } as const;
    expect(plan([elsewhere, six], [], b.address)).toMatchObject({ target: [], peers: {}, foreign: [{}, {}] });
  });
});

describe('what a peer makes of it', () => {
  const told: PeerFlow = { protocol: 'tcp', now: a, next: b, peer: client };
  const plan = (flows: PeerFlow[], pod: Partial<PeerPod>, called?: typeof virtual, here?: string) => {
    let next = 100n;
    const whole = { name: 'p', hostNetwork: false, rules: [], sockets: new Set<string>(), ...pod };
    return planPeer({
      migration: 2n,
      flows,
      podAt: (address) => (address === client.address ? whole : undefined),
      isHere: (address) => address === here,
      calledBy: () => called,
      nextFlowId: () => next++,
      isPending: (migration) => migration === 9n,
    });
  };

  it('is a pending rule with the identity that its transport has', () => {
    expect([...plan([told], {}).rules]).toEqual([
      [
        'p',
        [
          {
            rule: {
              flowId: 100n,
              migration: 2n,
              protocol: 'tcp',
              identity: atClient(a),
              wire: atClient(b),
              state: 'pending',
            },
          },
        ],
      ],
    ]);
  });

  it('keeps the identity and the id of a flow that has moved before, and remembers the rule until then', () => {
    const rules = [status(7n, atClient(a), atClient(b))];
    const { rules: made } = plan([{ ...told, now: b, next: c }], { rules });
    expect(made.get('p')).toMatchObject([
      {
        rule: { flowId: 7n, migration: 2n, identity: atClient(a), wire: atClient(c) },
        previous: { flowId: 7n, migration: 1n, wire: atClient(b), state: 'active' },
      },
    ]);
  });

  it('names a far end as the pod called it, but not for processes of the node, which are seen after its NAT', () => {
    expect(plan([told], {}, virtual).rules.get('p')?.[0]?.rule.identity).toEqual(atClient(virtual));
    const host = plan([told], { hostNetwork: true }, virtual).rules.get('p')?.[0]?.rule;
    expect(host).toMatchObject({ identity: atClient(a), reroute: true });
  });

  it('looks up the next hop again where the far end leaves this node, whose segment it may have been on', () => {
    expect(plan([told], {}, undefined, a.address).rules.get('p')?.[0]?.rule.reroute).toBe(true);
    expect(plan([told], {}, undefined, b.address).rules.get('p')?.[0]?.rule.reroute).toBeUndefined();
  });

  it('says whose address nobody has here', () => {
    expect(plan([{ ...told, peer: { address: '10.3.1.9', port: 1 } }, told], {}).unknown).toEqual([0]);
  });

  it('does not take a flow from where it has gone, but takes one that another move has only prepared', () => {
    const again = { ...told, next: c };
    const gone = [status(7n, atClient(a), atClient(b))];
    expect(plan([again], { rules: gone })).toMatchObject({ unknown: [0], rules: new Map() });
    const held = [status(7n, atClient(a), atClient(b), { state: 'held' })];
    expect(plan([again], { rules: held }).unknown).toEqual([0]);
    const pending = [status(7n, atClient(a), atClient(b), { state: 'held', migration: 9n })];
    expect(plan([again], { rules: pending }).unknown).toEqual([]);
    const own = [status(7n, atClient(a), atClient(b), { state: 'active', migration: 2n })];
    expect(plan([told], { rules: own }).unknown).toEqual([]);
  });

  it('does not let a flow come in from where another one comes in already', () => {
    const sockets = (remote: typeof a): Set<string> => new Set([tupleName('tcp', atClient(remote))]);
    expect(plan([told], { sockets: sockets(b) }).unknown).toEqual([0]);
    expect(plan([told], { sockets: sockets(c) }).unknown).toEqual([]);
    // That one's far end is called by another name, which this node translates.
    expect(plan([told], { sockets: sockets(virtual), hostNetwork: true }, virtual).unknown).toEqual([0]);
    expect(plan([told], { rules: [status(7n, atClient(c), atClient(b))] }).unknown).toEqual([0]);
    // It has gone from there itself.
    const left = [status(7n, atClient(b), atClient(c))];
    expect(plan([told], { sockets: sockets(b), rules: left }).unknown).toEqual([]);
    // It comes back to the place that it is called by.
    const back = [status(7n, atClient(b), atClient(a))];
    expect(plan([told], { sockets: sockets(b), rules: back }).unknown).toEqual([]);
  });

  it('can be read back from the data plane', () => {
    const rules = [
      status(7n, atClient(a), atClient(b)),
      status(7n, atClient(a), atClient(c), { migration: 2n, state: 'inbound' }),
      status(8n, atClient(a), atClient(c), { migration: 2n, state: 'held' }),
    ];
    expect(recoverPeerRules(2n, rules)).toMatchObject([
      { rule: { flowId: 7n, wire: atClient(c) }, previous: { wire: atClient(b) } },
      { rule: { flowId: 8n, state: 'held' } },
    ]);
  });
});
