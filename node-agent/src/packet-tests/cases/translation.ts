/** Plain TCP and UDP: every family, place, way, with ports changed and unchanged; states; checksums; counters. */
import type { Protocol } from '../../datapath/types.js';
import { etherTypes, frame, payload } from '../builder.js';
import { single, type PacketCase } from '../case.js';
import { flow, received, sent, type Family, type Place, type TestRule } from '../topology.js';

const families: readonly Family[] = [4, 6];
const protocols: readonly Protocol[] = ['tcp', 'udp'];
const places: readonly Place[] = ['peer', 'moved'];
const data = { payload: payload(37) };

/** Egress: identity to wire. */
function goesOut(name: string, rule: TestRule, at: Place, fields: object = data): PacketCase {
  const [packet, wanted] = [
    frame({}, sent(rule, rule.identity, fields)),
    frame({}, sent(rule, rule.wire, fields)),
  ];
  return single(
    name,
    { pod: at, rules: [rule], way: 'egress', packet, counters: [1, packet.length, 0, 0] },
    wanted,
  );
}

/** Ingress: wire to identity. */
function comesIn(name: string, rule: TestRule, at: Place, fields: object = data): PacketCase {
  const [packet, wanted] = [
    frame({}, received(rule, rule.wire, fields)),
    frame({}, received(rule, rule.identity, fields)),
  ];
  return single(
    name,
    { pod: at, rules: [rule], way: 'ingress', packet, counters: [0, 0, 1, packet.length] },
    wanted,
  );
}

const combinations: PacketCase[] = families.flatMap((family) =>
  protocols.flatMap((protocol) =>
    places.flatMap((at) =>
      [false, true].flatMap((portsChanged) => {
        const rule = flow({ family, protocol, at, portsChanged });
        const what = `${protocol.toUpperCase()} over IPv${family}, ports ${portsChanged ? 'changed' : 'unchanged'}, at the ${at === 'peer' ? 'peer' : 'moved pod'}`;
        return [goesOut(`${what}: egress`, rule, at), comesIn(`${what}: ingress`, rule, at)];
      }),
    ),
  ),
);

const tcp = flow();
const udp = flow({ protocol: 'udp' });
const udpPorts = flow({ protocol: 'udp', portsChanged: true });

const shapes: PacketCase[] = [
  goesOut('SYN with options', tcp, 'peer', {
    flags: 'S',
    options: Buffer.from('020405b40402080a0102030400000000', 'hex').subarray(0, 16),
  }),
  goesOut('FIN without payload', tcp, 'peer', { flags: 'FA' }),
  goesOut('RST', tcp, 'peer', { flags: 'R' }),
  goesOut('payload of odd length', tcp, 'peer', { payload: payload(1001) }),
  goesOut('empty datagram', udp, 'peer', {}),
  goesOut('jumbo frame', tcp, 'peer', { payload: payload(2900) }),
  single(
    'padding of a short frame stays as it is',
    { rules: [tcp], way: 'egress', packet: frame({ padTo: 60 }, sent(tcp, tcp.identity)) },
    frame({ padTo: 60 }, sent(tcp, tcp.wire)),
  ),
  single(
    'GSO packet of three segments',
    {
      rules: [tcp],
      way: 'egress',
      gso: { size: 400, segments: 3 },
      packet: frame({}, sent(tcp, tcp.identity, { payload: payload(1200) })),
    },
    frame({}, sent(tcp, tcp.wire, { payload: payload(1200) })),
  ),
];

/** A checksum that was wrong stays wrong: whoever looks at it must see that the packet was damaged. */
const damaged: PacketCase = {
  ...single(
    'a wrong TCP checksum stays wrong',
    {
      rules: [tcp],
      way: 'egress',
      packet: frame(
        {},
        sent(tcp, tcp.identity, { checksum: checksumOf(sent(tcp, tcp.identity), 36) ^ 0x0100 }),
      ),
    },
    frame({}, sent(tcp, tcp.wire, { checksum: (checksumOf(sent(tcp, tcp.wire), 36) + damage()) % 0xffff })),
  ),
  wrongChecksums: ['protocol 6'],
};

function checksumOf(packet: Buffer, at: number): number {
  return packet.readUInt16BE(at);
}

function damage(): number {
  const right = checksumOf(sent(tcp, tcp.identity), 36);
  return ((right ^ 0x0100) - right + 0xffff) % 0xffff;
}

/** A payload word which makes the checksum of the translated datagram come out as 0, so that 0xffff is written. */
function zeroing(rule: TestRule, family: Family): Buffer {
  const at = family === 4 ? 26 : 46;
  const open = checksumOf(sent(rule, rule.wire, { payload: Buffer.from([0, 0]) }), at);
  return Buffer.from([open >> 8, open & 0xff]);
}

const zeroes: PacketCase[] = [
  goesOut('UDP over IPv4 without checksum stays without', udp, 'peer', { ...data, checksum: 0 }),
  goesOut('UDP over IPv4 without checksum, ports changed, stays without', udpPorts, 'peer', {
    ...data,
    checksum: 0,
  }),
  comesIn('UDP over IPv4 without checksum, inbound, ports changed', udpPorts, 'peer', {
    ...data,
    checksum: 0,
  }),
  goesOut(
    'UDP over IPv6 without checksum (tunnels) stays without',
    flow({ family: 6, protocol: 'udp', portsChanged: true }),
    'peer',
    {
      ...data,
      checksum: 0,
    },
  ),
  ...families.flatMap((family) =>
    [false, true].map((portsChanged) => {
      const rule = flow({ family, protocol: 'udp', portsChanged });
      const word = zeroing(rule, family);
      const wanted = sent(rule, rule.wire, { payload: word, checksum: 0xffff });
      return single(
        `a UDP checksum that would become 0 becomes 0xffff, IPv${family}, ports ${portsChanged ? 'changed' : 'unchanged'}`,
        { rules: [rule], way: 'egress', packet: frame({}, sent(rule, rule.identity, { payload: word })) },
        frame({}, wanted),
      );
    }),
  ),
];

const tagged: PacketCase[] = families.flatMap((family) => {
  const rule = flow({ family, portsChanged: true });
  const stacks = {
    'one 802.1Q tag': [{ id: 100 }],
    'one 802.1ad tag': [{ type: etherTypes.serviceVlan, id: 7 }],
    'two tags': [{ type: etherTypes.serviceVlan, id: 7 }, { id: 100 }],
  };
  return Object.entries(stacks).flatMap(([name, tags]) => [
    single(
      `IPv${family} behind ${name}: egress`,
      { rules: [rule], way: 'egress', packet: frame({ tags }, sent(rule, rule.identity, data)) },
      frame({ tags }, sent(rule, rule.wire, data)),
    ),
    single(
      `IPv${family} behind ${name}: ingress`,
      { rules: [rule], way: 'ingress', packet: frame({ tags }, received(rule, rule.wire, data)) },
      frame({ tags }, received(rule, rule.identity, data)),
    ),
  ]);
});

const pending = flow({ state: 'pending' });
const states: PacketCase[] = [
  single(
    'pending: what goes out still goes to OLD',
    {
      rules: [pending],
      way: 'egress',
      packet: frame({}, sent(pending, pending.identity)),
      counters: [0, 0, 0, 0],
    },
    'pass untouched',
  ),
  comesIn('pending: what comes from NEW is understood already', pending, 'peer'),
  comesIn('held: what comes from NEW is still translated', flow({ state: 'held' }), 'peer'),
  single(
    'an inbound half that is pending passes',
    { rules: [flow({ inbound: 'pending' })], way: 'ingress', packet: frame({}, received(tcp, tcp.wire)) },
    'pass untouched',
  ),
  single(
    'an inbound half that is held drops',
    {
      rules: [flow({ inbound: 'held' })],
      way: 'ingress',
      packet: frame({}, received(tcp, tcp.wire)),
      kept: [],
    },
    { drop: 'HELD' },
  ),
];

const sizes = [0, 1, 512].map((size) => ({ payload: payload(size) }));
const outbound = sizes.map((fields) => frame({}, sent(tcp, tcp.identity, fields)));
const inbound = sizes.map((fields) => frame({}, received(tcp, tcp.wire, fields)));
const length = (frames: Buffer[]): number => frames.reduce((sum, { length: bytes }) => sum + bytes, 0);

const counted: PacketCase = {
  name: 'packets and bytes are counted for each way',
  rules: [tcp],
  steps: [
    ...outbound.map((packet, i) => ({
      way: 'egress' as const,
      packet,
      expect: frame({}, sent(tcp, tcp.wire, sizes[i])),
    })),
    ...inbound.slice(1).map((packet, i) => ({
      way: 'ingress' as const,
      packet,
      expect: frame({}, received(tcp, tcp.identity, sizes[i + 1])),
    })),
  ],
  counters: [3, length(outbound), 2, length(inbound.slice(1))],
};

export const translation: readonly PacketCase[] = [
  ...combinations,
  ...shapes,
  damaged,
  ...zeroes,
  ...tagged,
  ...states,
  counted,
];
