/** Random valid messages and replies, for tests of what carries them. */
import type { Endpoint, FlowTuple } from '../datapath/types.js';
import type { Difference, PeerFlow, Stray, TargetFlow } from '../protocol/messages.js';
import type { Random } from '../packet-tests/prng.js';
import { addressText } from '../datapath/address.js';
import type { AnyKind, AnyMessage, AnyReply } from './kinds.js';
import type { SentReport } from './report.js';

export const messageKinds: readonly AnyKind[] = [
  'prepareTarget',
  'targetFlows',
  'restore',
  'release',
  'strays',
  'switched',
  'preparePeer',
  'hold',
  'unhold',
  'rsyn',
  'abort',
  'outcome',
  'ended',
  'report',
];

export function hex(random: Random, digits: number): string {
  const bytes = Buffer.alloc(digits / 2);
  random.fill(bytes);
  return bytes.toString('hex');
}

function address(random: Random, family: 4 | 6): string {
  const bytes = Buffer.alloc(16);
  random.fill(bytes);
  if (family === 4) bytes.fill(0, 0, 10).fill(0xff, 10, 12);
  else bytes.fill(0, 2 + random.below(6), 9 + random.below(6));
  return addressText(bytes);
}

function endpoint(random: Random, family: 4 | 6): Endpoint {
  return { address: address(random, family), port: 1 + random.below(65_535) };
}

function several<Value>(random: Random, most: number, make: () => Value): Value[] {
  return Array.from({ length: random.below(most + 1) }, make);
}

export function peerFlow(random: Random): PeerFlow {
  const family = random.pick([4, 6] as const);
  return {
    protocol: random.pick(['tcp', 'udp'] as const),
    now: endpoint(random, family),
    next: endpoint(random, family),
    peer: endpoint(random, family),
  };
}

function targetFlow(random: Random): TargetFlow {
  const family = random.pick([4, 6] as const);
  const tuple = (): FlowTuple => ({ local: endpoint(random, family), remote: endpoint(random, family) });
  return { protocol: random.pick(['tcp', 'udp'] as const), identity: tuple(), wire: tuple() };
}

function difference<Flow>(random: Random, make: (random: Random) => Flow): Difference<Flow> {
  const flows = (): Flow[] => several(random, 3, () => make(random));
  return { add: flows(), remove: flows() };
}

function stray(random: Random): Stray {
  const packet = Buffer.alloc(random.below(80));
  random.fill(packet);
  return { flow: peerFlow(random), packet: packet.toString('base64') };
}

const node = (random: Random): string => `node-${random.below(1000)}.rack-${random.below(9)}`;
const workload = (random: Random) => ({ name: `shop/redis-${random.below(9)}`, uid: hex(random, 32) });

export function sentReport(random: Random): SentReport {
  const some = (): string => address(random, random.pick([4, 6] as const));
  const addresses = (): string[] => several(random, 4, some);
  return {
    replicas: several(random, 6, () => ({
      protocol: random.pick(['tcp', 'udp'] as const),
      address: some(),
      port: 1 + random.below(65_535),
      established: random.below(100_000),
      backlog: random.below(3),
    })),
    moving: addresses(),
    left: several(random, 3, () => {
      const family = random.pick([4, 6] as const);
      return { address: address(random, family), now: address(random, family) };
    }),
    died: addresses(),
    pods: addresses(),
    sequence: 1 + random.below(1_000_000),
    moved: several(random, 3, () => ({ address: some(), uid: hex(random, 32) })),
  };
}

export function randomMessage(random: Random, kind: AnyKind = random.pick(messageKinds)): AnyMessage {
  const migration = hex(random, 16);
  const nonce = hex(random, 32);
  const epoch = random.below(1000);
  const sequence = 1 + random.below(50);
  const flows = (): PeerFlow[] => several(random, 6, () => peerFlow(random));
  const strays = several(random, 3, () => stray(random));
  const messages: { [Kind in AnyKind]: () => Extract<AnyMessage, { kind: Kind }> } = {
    prepareTarget: () => ({
      kind: 'prepareTarget',
      migration,
      epoch,
      workload: workload(random),
      addresses: [address(random, 4), address(random, 6)],
      mover: 'criu',
      image: { tree: [1, { pid: random.below(9) }, null], cgroup: '/a/b', fraction: 0.5, on: true },
    }),
    targetFlows: () => ({ kind: 'targetFlows', migration, sequence, flows: difference(random, targetFlow) }),
    restore: () => ({ kind: 'restore', migration, sequence, flows: difference(random, targetFlow) }),
    release: () => ({ kind: 'release', migration, peers: [{ node: node(random), nonce }], strays }),
    strays: () => ({ kind: 'strays', migration, strays }),
    switched: () => ({
      kind: 'switched',
      migration,
      missing: several(random, 3, () => node(random)),
      report: { resumeMs: 1.5, switchMs: 0, replayed: random.below(9) },
    }),
    preparePeer: () => ({
      kind: 'preparePeer',
      migration,
      epoch,
      workload: workload(random),
      target: node(random),
      flows: flows(),
    }),
    hold: () => ({ kind: 'hold', migration, sequence, nonce, flows: difference(random, peerFlow) }),
    unhold: () => ({ kind: 'unhold', migration, sequence, nonce }),
    rsyn: () => ({ kind: 'rsyn', migration, epoch, nonce, strays }),
    abort: () => ({ kind: 'abort', migration }),
    outcome: () => ({ kind: 'outcome', migration }),
    ended: () => ({ kind: 'ended', migration, flows: flows() }),
    report: () => ({ kind: 'report', ...sentReport(random), load: random.chance(50) }),
  };
  return messages[kind]();
}

export function randomReply(random: Random, kind: AnyKind): AnyReply {
  if (random.chance(25))
    return { ok: false, refusal: random.pick(['busy', 'badNonce'] as const), reason: 'why' };
  const nonce = hex(random, 32);
  const unknown = several(random, 5, () => random.below(100));
  if (kind === 'prepareTarget')
    return {
      ok: true,
      addresses: random.chance(50) ? { ipv4: address(random, 4) } : { ipv6: address(random, 6) },
    };
  if (kind === 'preparePeer') return { ok: true, nonce, unknown };
  if (kind === 'hold') return { ok: true, unknown };
  if (kind === 'rsyn') return { ok: true, replayed: random.below(9) };
  if (kind === 'report') return { ok: true, ...sentReport(random) };
  if (kind !== 'outcome') return { ok: true };
  if (random.chance(50)) return { ok: true, word: random.pick(['undecided', 'aborted', 'unknown'] as const) };
  const release = { peers: [{ node: node(random), nonce }], strays: several(random, 3, () => stray(random)) };
  return { ok: true, word: 'released', release };
}
