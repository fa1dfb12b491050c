/** What the fuzzer starts from: rules of every kind in three pods, and well-formed packets about each of them. */
import {
  authentication,
  destinationOptions,
  fragmentHeader,
  frame,
  hopByHop,
  ipv4Fragments,
  ipv6Fragments,
  payload,
  routingHeader,
} from './builder.js';
import { allCases } from './cases/index.js';
import { podIds, type PodMarks } from './harness.js';
import { networkLayer } from './oracle-headers.js';
import type { Direction } from './oracle.js';
import {
  addresses,
  errorAbout,
  flow,
  received,
  segment,
  sent,
  type ErrorName,
  type Family,
  type PacketFields,
  type Place,
  type TestRule,
} from './topology.js';

export interface Seedling {
  pod: number;
  direction: Direction;
  frame: Buffer;
  /** offsets of the IP header and of what follows it without extensions */
  l3: number;
  l4: number;
}

/** Every combination of family, protocol, state, ports changed or not. */
export function fuzzRules(at: Place): TestRule[] {
  const choices = ([4, 6] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).flatMap((protocol) =>
      (['active', 'pending', 'held', 'refused'] as const).flatMap((state) =>
        [false, true].map((portsChanged) => ({ family, protocol, state, portsChanged })),
      ),
    ),
  );
  const rules = choices.map((choice, shift) => flow({ ...choice, at, shift, flowId: BigInt(shift + 1) }));
  return rules.map(onWirePortsOfItsOwn);
}

/** Changed ports would be the same for all: two rules must not share a wire tuple. */
function onWirePortsOfItsOwn(rule: TestRule, i: number): TestRule {
  if (
    rule.wire.local.port === rule.identity.local.port &&
    rule.wire.remote.port === rule.identity.remote.port
  )
    return rule;
  const { local, remote } = rule.wire;
  return {
    ...rule,
    wire: { local: { ...local, port: local.port + i }, remote: { ...remote, port: remote.port + i } },
  };
}

export const fuzzPods: ReadonlyArray<PodMarks & { pod: number; rules: TestRule[] }> = [
  { pod: podIds.peer, rules: fuzzRules('peer') },
  { pod: podIds.moved, rules: fuzzRules('moved') },
  { pod: podIds.held, rules: fuzzRules('peer'), held: true },
  { pod: podIds.quiet, rules: fuzzRules('peer'), quiet: true, tracked: true },
];

export function corpus(): Seedling[] {
  const seedlings: Seedling[] = [];
  for (const { pod, rules } of fuzzPods) for (const rule of rules) seedlings.push(...aboutRule(pod, rule));
  for (const one of allCases)
    for (const { way, packet } of one.steps)
      if (packet.length < 1700) seedlings.push(seedling(podIds[one.pod ?? 'peer'], way, packet));
  return seedlings;
}

function seedling(pod: number, direction: Direction, bytes: Buffer): Seedling {
  const l3 = networkLayer(bytes)?.at ?? 14;
  const first = bytes[l3] ?? 0x45;
  return { pod, direction, frame: bytes, l3, l4: l3 + (first >> 4 === 6 ? 40 : (first & 15) * 4) };
}

function aboutRule(pod: number, rule: TestRule): Seedling[] {
  const family: Family = rule.identity.local.address.includes(':') ? 6 : 4;
  const shapes = [...plain, ...(family === 4 ? v4Shapes : v6Shapes)];
  const out = [
    ...shapes.map((fields) => sent(rule, rule.identity, fields)),
    ...pieces(rule, 'egress', family),
    ...told(rule, 'egress', family),
  ];
  const back = [
    ...shapes.map((fields) => received(rule, rule.wire, fields)),
    ...pieces(rule, 'ingress', family),
    ...told(rule, 'ingress', family),
  ];
  return [
    ...out.map((bytes) => seedling(pod, 'egress', frame({}, bytes))),
    ...back.map((bytes) => seedling(pod, 'ingress', frame({}, bytes))),
    seedling(pod, 'egress', frame({ tags: [{ id: 9 }], padTo: 80 }, sent(rule, rule.identity))),
    seedling(
      pod,
      'ingress',
      frame({ tags: [{ type: 0x88a8, id: 9 }, { id: 5 }] }, received(rule, rule.wire)),
    ),
  ];
}

const plain: PacketFields[] = [
  {},
  { payload: payload(1) },
  { payload: payload(33) },
  { payload: payload(600) },
  { flags: 'S', options: Buffer.from('020405b4', 'hex') },
  { flags: 'FA' },
  { payload: payload(20), checksum: 0 },
];

const v4Shapes: PacketFields[] = [
  { ip: { options: Buffer.from('07070400000000', 'hex') } },
  { ip: { options: Buffer.from('830704' + '0a080008', 'hex') }, payload: payload(30) },
  { ip: { options: Buffer.from('01830708' + '0a080008', 'hex') } },
];

const v6Shapes: PacketFields[] = [
  { ip: { extensions: [hopByHop()] } },
  { ip: { extensions: [destinationOptions(16), routingHeader(0)] }, payload: payload(30) },
  { ip: { extensions: [routingHeader(1)] } },
  { ip: { extensions: [authentication()] } },
  { ip: { extensions: [fragmentHeader(3, 0, false)] } },
  { ip: { extensions: Array.from({ length: 8 }, () => destinationOptions()) } },
  { ip: { extensions: Array.from({ length: 9 }, () => destinationOptions()) } },
];

/** A datagram of this flow in pieces; few identifications, so that they meet again. */
function pieces(rule: TestRule, way: Direction, family: Family): Buffer[] {
  const { local, remote } = way === 'egress' ? rule.identity : rule.wire;
  const [from, to] = way === 'egress' ? [local, remote] : [remote, local];
  const inner = segment(rule.protocol, from, to, { payload: payload(70) });
  const ends = { from: from.address, to: to.address, id: local.port & 3 };
  return family === 4 ? ipv4Fragments(ends, inner, 40) : ipv6Fragments(ends, inner, 40);
}

const errorNames: ErrorName[] = ['port unreachable', 'packet too big', 'time exceeded', 'parameter problem'];

/** Errors about this flow from a router, from the far end, told by the pod; quoting more and less. */
function told(rule: TestRule, way: Direction, family: Family): Buffer[] {
  const header = family === 4 ? 20 : 40;
  const { local, remote } = way === 'egress' ? rule.identity : rule.wire;
  const quote =
    way === 'egress'
      ? received(rule, rule.identity, { payload: payload(40) })
      : sent(rule, rule.wire, { payload: payload(40) });
  const from = way === 'egress' ? [local.address] : [remote.address, addresses[family].router];
  const to = way === 'egress' ? remote.address : local.address;
  return errorNames.flatMap((name) =>
    from.flatMap((teller) =>
      [3, 8, 18, 60].map((length) => errorAbout(name, teller, to, quote.subarray(0, header + length))),
    ),
  );
}
