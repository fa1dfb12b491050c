/** ICMP that only looks like an error about a flow, and errors whose quote is odd: fragments, options, cut off. */
import type { FlowTuple } from '../../datapath/types.js';
import {
  authenticatedIpv4,
  authentication,
  destinationOptions,
  frame,
  icmp6,
  ipv4,
  ipv4Fragments,
  ipv6,
  ipv6Fragments,
  payload,
  protocols,
  raw,
  routingHeader,
} from '../builder.js';
import { single, type Expected, type PacketCase } from '../case.js';
import {
  addresses,
  errorAbout,
  flow,
  icmpFor,
  ip,
  segment,
  sent,
  type Family,
  type PacketFields,
  type TestRule,
} from '../topology.js';

function about(family: Family, rule: TestRule, quote: (tuple: FlowTuple) => Buffer): [Buffer, Buffer] {
  const { router } = addresses[family];
  const build = (tuple: FlowTuple): Buffer =>
    frame({}, errorAbout('packet too big', router, tuple.local.address, quote(tuple)));
  return [build(rule.wire), build(rule.identity)];
}

function comesIn(
  name: string,
  rule: TestRule,
  [packet, wanted]: [Buffer, Buffer],
  expect: Expected = wanted,
): PacketCase {
  return single(name, { rules: [rule], way: 'ingress', packet }, expect);
}

const data = { payload: payload(64) };

/** What is not about a translated flow. */
function strangers(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const rule = flow({ family, portsChanged: true });
  const beside = flow({ family, shift: 1 });
  const { router, peer, new: moved } = addresses[family];
  const whole = (tuple: FlowTuple): Buffer => sent(rule, tuple, data);
  const redirect = icmpFor(family, { type: family === 4 ? 5 : 137, code: 1, body: whole(rule.wire) });
  const echo = ip(peer, moved, icmpFor(family, { type: family === 4 ? 8 : 128, body: payload(32) }));
  return [
    single(
      on('a redirect speaks of the wire: untouched'),
      { rules: [rule], way: 'ingress', packet: frame({}, ip(router, peer, redirect)) },
      'pass untouched',
    ),
    comesIn(on('an error about a flow without a rule'), beside, about(family, rule, whole), 'pass untouched'),
    comesIn(
      on('an error about an echo request'),
      rule,
      about(family, rule, () => echo),
      'pass untouched',
    ),
    comesIn(
      on('an error about GRE'),
      rule,
      about(family, rule, () => ip(peer, moved, raw(protocols.gre, payload(32)))),
      'pass untouched',
    ),
  ];
}

/** How much is quoted, and what of it. */
function lengths(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const rule = flow({ family, portsChanged: true });
  const header = family === 4 ? 20 : 40;
  const whole = (tuple: FlowTuple): Buffer => sent(rule, tuple, data);
  const late = (tuple: FlowTuple): Buffer => fragmentsOf(rule, tuple, family)[1] as Buffer;
  const first = (tuple: FlowTuple): Buffer => fragmentsOf(rule, tuple, family)[0] as Buffer;
  return [
    comesIn(
      on('a quote that ends within the ports'),
      rule,
      about(family, rule, (tuple) => whole(tuple).subarray(0, header + 3)),
      { drop: 'QUOTE_TRUNCATED' },
    ),
    comesIn(
      on('a quote that ends within its IP header'),
      rule,
      about(family, rule, (tuple) => whole(tuple).subarray(0, header - 1)),
      'pass untouched',
    ),
    comesIn(
      on('a quote that ends before the TCP checksum'),
      rule,
      about(family, rule, (tuple) => whole(tuple).subarray(0, header + 16)),
    ),
    comesIn(
      on('a quote that ends behind the TCP checksum'),
      rule,
      about(family, rule, (tuple) => whole(tuple).subarray(0, header + 18)),
    ),
    comesIn(on('a quoted first fragment'), rule, about(family, rule, first)),
    comesIn(on('a quoted later fragment'), rule, about(family, rule, late), { drop: 'QUOTE_FRAGMENT' }),
    comesIn(
      on('a quoted later fragment between other addresses'),
      rule,
      about(family, rule, () => late(elsewhere(rule, family))),
      'pass untouched',
    ),
    comesIn(
      on('a quoted later fragment of an echo request'),
      rule,
      about(family, rule, () => echoFragment(family)),
      'pass untouched',
    ),
  ];
}

/** What lies around the error. */
function wrapped(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const rule = flow({ family, portsChanged: true });
  return [
    single(
      on('an error in fragments'),
      { rules: [rule], way: 'ingress', packet: frame({}, errorInPieces(family, rule)) },
      { drop: 'QUOTE_FRAGMENT' },
    ),
    single(
      on('bytes behind the end of the packet are none of the quote'),
      { rules: [rule], way: 'ingress', packet: trailer(family, rule, rule.wire) },
      trailer(family, rule, rule.identity),
    ),
    single(
      on('an error behind two tags'),
      { rules: [rule], way: 'ingress', packet: tagged(family, rule, rule.wire) },
      tagged(family, rule, rule.identity),
    ),
  ];
}

function fragmentsOf(rule: TestRule, tuple: FlowTuple, family: Family): Buffer[] {
  const inner = segment(rule.protocol, tuple.local, tuple.remote, data);
  const ends = { from: tuple.local.address, to: tuple.remote.address };
  return family === 4 ? ipv4Fragments(ends, inner, 48) : ipv6Fragments({ ...ends, id: 3 }, inner, 48);
}

function echoFragment(family: Family): Buffer {
  const { peer: from, new: to } = addresses[family];
  const inner = icmpFor(family, { type: family === 4 ? 8 : 128, body: payload(80) });
  return (
    family === 4
      ? ipv4Fragments({ from, to }, inner, 48)[1]
      : ipv6Fragments({ from, to, id: 3 }, inner, 48)[1]
  ) as Buffer;
}

function elsewhere(rule: TestRule, family: Family): FlowTuple {
  return { ...rule.wire, remote: { ...rule.wire.remote, address: addresses[family].stranger } };
}

function errorInPieces(family: Family, rule: TestRule): Buffer {
  const { router: from, peer: to } = addresses[family];
  const body = sent(rule, rule.wire, data);
  const inner = icmpFor(family, { type: family === 4 ? 3 : 2, code: family === 4 ? 4 : 0, rest: 1400, body });
  return (
    family === 4
      ? ipv4Fragments({ from, to }, inner, 96)[0]
      : ipv6Fragments({ from, to, id: 4 }, inner, 96)[0]
  ) as Buffer;
}

/** A device's trailer behind the packet: longer than what is missing of the TCP checksum. */
function trailer(family: Family, rule: TestRule, tuple: FlowTuple): Buffer {
  const quote = sent(rule, tuple).subarray(0, (family === 4 ? 20 : 40) + 8);
  const bytes = frame({}, errorAbout('packet too big', addresses[family].router, tuple.local.address, quote));
  return Buffer.concat([bytes, payload(32, 0x60)]);
}

function tagged(family: Family, rule: TestRule, tuple: FlowTuple): Buffer {
  const tags = [{ type: 0x88a8, id: 7 }, { id: 100 }];
  return frame(
    { tags },
    errorAbout('packet too big', addresses[family].router, tuple.local.address, sent(rule, tuple, data)),
  );
}

const v4 = flow({ portsChanged: true });
const v6 = flow({ family: 6, portsChanged: true });
const quoting = (rule: TestRule, fields: PacketFields['ip']): [Buffer, Buffer] =>
  about(rule === v4 ? 4 : 6, rule, (tuple) =>
    sent(rule, tuple, { ...data, ...(fields === undefined ? {} : { ip: fields }) }),
  );

/** A word of payload that makes the quoted checksum 0 after the translation, so that 0xffff must be written. */
function zeroQuote(family: Family): [Buffer, Buffer] {
  const rule = zeroRule(family);
  const at = family === 4 ? 26 : 46;
  const open = sent(rule, rule.identity, { payload: Buffer.from([0, 0]) }).readUInt16BE(at);
  const word = Buffer.from([open >> 8, open & 0xff]);
  return about(family, rule, (tuple) => sent(rule, tuple, { payload: word }));
}

function zeroRule(family: Family): TestRule {
  return flow({ family, protocol: 'udp', portsChanged: true });
}

const mappedQuote = ipv6(
  { from: '::ffff:a01:7', to: '::ffff:a03:5' },
  segment('tcp', v4.identity.remote, v4.identity.local),
);

const odd: PacketCase[] = [
  comesIn(
    'a quoted packet with a record route',
    v4,
    quoting(v4, { options: Buffer.from('07070400000000', 'hex') }),
  ),
  comesIn(
    'a quoted packet with options of the greatest length',
    v4,
    quoting(v4, { options: Buffer.alloc(40, 1) }),
  ),
  comesIn(
    'a quoted packet with extension headers',
    v6,
    quoting(v6, { extensions: [destinationOptions(24)] }),
  ),
  comesIn(
    'a quoted packet with an authentication header',
    v6,
    quoting(v6, { extensions: [authentication()] }),
    { drop: 'AUTHENTICATED' },
  ),
  comesIn(
    'a quoted packet with too many extension headers',
    v6,
    quoting(v6, { extensions: Array.from({ length: 9 }, () => destinationOptions()) }),
    {
      drop: 'HEADER_CHAIN',
    },
  ),
  comesIn(
    'a quote that ends within an extension header',
    v6,
    about(6, v6, (tuple) => sent(v6, tuple, { ip: { extensions: [destinationOptions()] } }).subarray(0, 44)),
    { drop: 'QUOTE_TRUNCATED' },
  ),
  comesIn('a quoted UDP checksum that would become 0 becomes 0xffff, IPv4', zeroRule(4), zeroQuote(4)),
  comesIn('a quoted UDP checksum that would become 0 becomes 0xffff, IPv6', zeroRule(6), zeroQuote(6)),
  single(
    'an error with a record route of its own',
    { rules: [v4], way: 'ingress', packet: recordRouteError(v4.wire) },
    recordRouteError(v4.identity),
  ),
  single(
    'an error with a source route of its own',
    { rules: [v4], way: 'ingress', packet: frame({}, optionError(v4.wire, '830704' + '0a080008')) },
    { drop: 'SOURCE_ROUTED' },
  ),
  comesIn(
    "a quoted packet with an IPv4 authentication header is nobody's",
    v4,
    about(4, v4, authenticatedQuote),
    'pass untouched',
  ),
  comesIn(
    "a quoted packet of another protocol behind a routing header is nobody's",
    v6,
    about(6, v6, ({ local, remote }) =>
      ip(local.address, remote.address, raw(protocols.gre, payload(16)), { extensions: [routingHeader(1)] }),
    ),
    'pass untouched',
  ),
  single(
    'an ICMPv6 error that quotes IPv4-mapped addresses',
    {
      rules: [v4],
      way: 'egress',
      packet: frame({}, ip('fd00:3::5', 'fd00:1::7', icmp6({ type: 1, code: 4, body: mappedQuote }))),
    },
    'pass untouched',
  ),
  {
    ...single(
      'an ICMP checksum that was wrong stays wrong',
      { rules: [v4], way: 'ingress', packet: damagedError(v4.wire) },
      damagedError(v4.identity),
    ),
    wrongChecksums: ['protocol 1'],
  },
  single(
    'an ICMP packet that ends with its type',
    {
      rules: [v4],
      way: 'ingress',
      packet: frame({}, ip(addresses[4].new, addresses[4].peer, raw(1, Buffer.from([3])))),
    },
    'pass untouched',
  ),
];

/** No packet of a translated flow leaves with one: nobody can quote it. */
function authenticatedQuote({ local, remote }: FlowTuple): Buffer {
  return authenticatedIpv4({ from: local.address, to: remote.address }, segment('tcp', local, remote, data));
}

function optionError(tuple: FlowTuple, hex: string): Buffer {
  const inner = icmpFor(4, { type: 3, code: 4, rest: 1400, body: sent(v4, tuple, data) });
  return ipv4(
    { from: addresses[4].router, to: tuple.local.address, options: Buffer.from(hex, 'hex') },
    inner,
  );
}

function recordRouteError(tuple: FlowTuple): Buffer {
  return frame({}, optionError(tuple, '07070400000000'));
}

function damagedError(tuple: FlowTuple): Buffer {
  const bytes = frame(
    {},
    errorAbout('packet too big', addresses[4].router, tuple.local.address, sent(v4, tuple, data)),
  );
  bytes.writeUInt16BE((bytes.readUInt16BE(36) + 5) % 0xffff, 36);
  return bytes;
}

export const quotes: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) => [...strangers(family), ...lengths(family), ...wrapped(family)]),
  ...odd,
];
