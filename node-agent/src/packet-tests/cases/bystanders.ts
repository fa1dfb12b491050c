/** Who is not concerned by a rule, and must not notice that there is one. */
import {
  arpRequest,
  etherTypes,
  frame,
  ipv6,
  neighbourDiscovery,
  payload,
  protocols,
  raw,
  udp as udpSegment,
} from '../builder.js';
import { single, type PacketCase } from '../case.js';
import {
  addresses,
  flow,
  icmpFor,
  ip,
  packet,
  received,
  sent,
  type Family,
  type TestRule,
} from '../topology.js';

const data = { payload: payload(24) };

function untouched(name: string, rule: TestRule, way: 'egress' | 'ingress', bytes: Buffer): PacketCase {
  return single(name, { rules: [rule], way, packet: bytes, counters: [0, 0, 0, 0] }, 'pass untouched');
}

function otherTuples(family: Family): PacketCase[] {
  const rule = flow({ family, portsChanged: true });
  const { stranger } = addresses[family];
  const { local, remote } = rule.identity;
  const on = (name: string): string => `${name}, IPv${family}`;
  return [
    untouched(
      on('same ports, other address'),
      rule,
      'egress',
      frame({}, packet('tcp', local, { ...remote, address: stranger }, data)),
    ),
    untouched(
      on('same addresses, other local port'),
      rule,
      'egress',
      frame({}, packet('tcp', { ...local, port: 40001 }, remote, data)),
    ),
    untouched(
      on('same addresses, other remote port'),
      rule,
      'egress',
      frame({}, packet('tcp', local, { ...remote, port: 6380 }, data)),
    ),
    untouched(
      on('same tuple, other protocol'),
      rule,
      'egress',
      frame({}, packet('udp', local, remote, data)),
    ),
    untouched(
      on('ports swapped'),
      rule,
      'egress',
      frame({}, packet('tcp', { ...local, port: remote.port }, { ...remote, port: local.port }, data)),
    ),
    untouched(
      on('the identity tuple inbound: OLD has a new owner'),
      rule,
      'ingress',
      frame({}, received(rule, rule.identity, data)),
    ),
    untouched(
      on('the wire tuple outbound: a native flow to NEW'),
      rule,
      'egress',
      frame({}, sent(rule, rule.wire, data)),
    ),
    untouched(
      on('the flow the other way round'),
      rule,
      'ingress',
      frame({}, sent(rule, rule.identity, data)),
    ),
  ];
}

function otherProtocols(family: Family): PacketCase[] {
  const rule = flow({ family, portsChanged: true });
  const { peer, old, new: moved } = addresses[family];
  const on = (name: string): string => `${name}, IPv${family}`;
  const toOld = (segment: Parameters<typeof ip>[2]): Buffer => frame({}, ip(peer, old, segment));
  return [
    untouched(on('GRE between the same addresses'), rule, 'egress', toOld(raw(protocols.gre, payload(32)))),
    untouched(
      on('SCTP with the same ports'),
      rule,
      'egress',
      toOld(raw(protocols.sctp, Buffer.from('9c4018eb00000000', 'hex'))),
    ),
    untouched(
      on('echo request'),
      rule,
      'egress',
      toOld(icmpFor(family, { type: family === 4 ? 8 : 128, rest: 0x00010002, body: payload(56) })),
    ),
    untouched(
      on('echo reply'),
      rule,
      'ingress',
      frame({}, ip(moved, peer, icmpFor(family, { type: family === 4 ? 0 : 129, body: payload(56) }))),
    ),
    {
      name: on('the rule of another pod'),
      pod: 'other',
      steps: [
        { way: 'egress', packet: frame({}, sent(rule, rule.identity, data)), expect: 'pass untouched' },
      ],
      foreign: { pod: 'peer', rules: [rule] },
    },
  ];
}

const v4 = flow({ portsChanged: true });
const v6 = flow({ family: 6, portsChanged: true });
const mapped = (text: string): string =>
  `::ffff:${Buffer.from(text.split('.').map(Number))
    .toString('hex')
    .replace(/^(.{4})/, '$1:')}`;
const mappedTuple = [mapped(v4.identity.local.address), mapped(v4.identity.remote.address)] as const;
const sameUdp = flow({ protocol: 'udp' });

const others: PacketCase[] = [
  untouched('ARP', v4, 'egress', arpRequest('10.3.0.5', '10.1.0.7')),
  untouched('neighbour solicitation', v6, 'egress', frame({}, neighbourDiscovery('fd00:3::5', 'fd00:1::7'))),
  untouched(
    'an IPv6 packet with IPv4-mapped addresses',
    v4,
    'egress',
    frame(
      {},
      packet('tcp', { address: mappedTuple[0], port: 40000 }, { address: mappedTuple[1], port: 6379 }, data),
    ),
  ),
  untouched(
    'an IPv6 packet with IPv4-mapped addresses behind an extension header',
    sameUdp,
    'egress',
    frame(
      {},
      ipv6(
        {
          from: mappedTuple[0],
          to: mappedTuple[1],
          extensions: [{ number: 60, bytes: Buffer.from('0000010400000000', 'hex') }],
        },
        udpSegment({ from: 40000, to: 6379 }),
      ),
    ),
  ),
  untouched(
    'three tags',
    v4,
    'egress',
    frame({ tags: [{ id: 1 }, { id: 2 }, { id: 3 }] }, sent(v4, v4.identity, data)),
  ),
  untouched('another Ethernet type', v4, 'egress', frame({ type: 0x88b5 }, sent(v4, v4.identity, data))),
  untouched(
    'IPv6 under the type of IPv4',
    v6,
    'egress',
    frame({ type: etherTypes.ipv4 }, sent(v6, v6.identity, data)),
  ),
  untouched(
    'IPv4 under the type of IPv6',
    v4,
    'egress',
    frame({ type: etherTypes.ipv6 }, sent(v4, v4.identity, { payload: payload(40) })),
  ),
  untouched('a header length below five words', v4, 'egress', shortHeader()),
  single(
    'no rule at all',
    { way: 'egress', packet: frame({}, sent(v4, v4.identity, data)) },
    'pass untouched',
  ),
];

function shortHeader(): Buffer {
  const bytes = frame({}, sent(v4, v4.identity, data));
  bytes[14] = 0x44;
  return bytes;
}

export const bystanders: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) => [...otherTuples(family), ...otherProtocols(family)]),
  ...others,
];
