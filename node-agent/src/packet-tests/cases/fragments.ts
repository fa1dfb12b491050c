/** Datagrams in pieces: the first decides, the later ones follow. */
import {
  authentication,
  destinationOptions,
  frame,
  ipv4Fragments,
  ipv6Fragments,
  payload,
  routingHeader,
  type Extension,
} from '../builder.js';
import type { Expected, PacketCase, Step } from '../case.js';
import type { FlowTuple } from '../../datapath/types.js';
import { addresses, flow, icmpFor, segment, type Family, type TestRule } from '../topology.js';

interface Pieces {
  id?: number;
  options?: Buffer;
  extensions?: Extension[];
  after?: Extension[];
  checksum?: number;
}

const options = { payload: payload(100) };

/** The datagram from one end to the other, in three pieces. */
function pieces(rule: TestRule, tuple: FlowTuple, way: 'egress' | 'ingress', fields: Pieces = {}): Buffer[] {
  const [from, to] = way === 'egress' ? [tuple.local, tuple.remote] : [tuple.remote, tuple.local];
  const { checksum, ...ip } = fields;
  const inner = segment(rule.protocol, from, to, {
    ...options,
    ...(checksum === undefined ? {} : { checksum }),
  });
  const ends = { from: from.address, to: to.address };
  const bytes = from.address.includes(':')
    ? ipv6Fragments({ ...ends, id: 77, ...ip }, inner, 48)
    : ipv4Fragments({ ...ends, id: 77, ...ip }, inner, 48);
  return bytes.map((one) => frame({}, one));
}

function steps(way: 'egress' | 'ingress', packets: readonly Buffer[], expected: readonly Expected[]): Step[] {
  return packets.map((packet, i) => ({ way, packet, expect: expected[i] as Expected }));
}

const same = (expect: Expected): Expected[] => [expect, expect, expect];

function activeFlows(family: Family): PacketCase[] {
  const on = (name: string): string => `IPv${family}: ${name}`;
  const udp = flow({ family, protocol: 'udp', portsChanged: true });
  const tcp = flow({ family, portsChanged: true });
  const out = pieces(udp, udp.identity, 'egress');
  const translated = pieces(udp, udp.wire, 'egress');
  return [
    {
      name: on('a datagram in three pieces, egress: translated'),
      rules: [udp],
      steps: steps('egress', out, translated),
    },
    {
      name: on('a datagram in three pieces, ingress: translated'),
      rules: [udp],
      steps: steps('ingress', pieces(udp, udp.wire, 'ingress'), pieces(udp, udp.identity, 'ingress')),
    },
    {
      name: on('a TCP segment in three pieces: translated'),
      rules: [tcp],
      steps: steps('egress', pieces(tcp, tcp.identity, 'egress'), pieces(tcp, tcp.wire, 'egress')),
    },
    {
      name: on('pieces without a checksum: translated'),
      rules: [udp],
      steps: steps(
        'egress',
        pieces(udp, udp.identity, 'egress', { checksum: 0 }),
        pieces(udp, udp.wire, 'egress', { checksum: 0 }),
      ),
    },
    {
      name: on('later pieces whose first was not seen: dropped'),
      rules: [udp],
      steps: steps('egress', out.slice(1), same({ drop: 'FRAGMENT_UNKNOWN' })),
    },
    {
      name: on('later pieces of another datagram: dropped'),
      rules: [udp],
      steps: [
        ...steps('egress', out.slice(0, 1), translated),
        ...steps(
          'egress',
          pieces(udp, udp.identity, 'egress', { id: 78 }).slice(1),
          same({ drop: 'FRAGMENT_UNKNOWN' }),
        ),
      ],
    },
  ];
}

function otherFlows(family: Family): PacketCase[] {
  const on = (name: string): string => `IPv${family}: ${name}`;
  const udp = flow({ family, protocol: 'udp', portsChanged: true });
  const held = flow({ family, protocol: 'udp', state: 'held' });
  const heldInbound = flow({ family, protocol: 'udp', inbound: 'held' });
  const pending = flow({ family, protocol: 'udp', state: 'pending' });
  const beside = flow({ family, protocol: 'udp', shift: 1 });
  const out = pieces(udp, udp.identity, 'egress');
  return [
    {
      name: on('pieces of a flow without a rule between the same addresses: pass'),
      rules: [udp],
      steps: steps('egress', pieces(beside, beside.identity, 'egress'), same('pass untouched')),
    },
    {
      name: on('later pieces between other addresses: pass'),
      rules: [udp],
      steps: steps('egress', pieces(udp, toStranger(udp, family), 'egress').slice(1), same('pass untouched')),
    },
    {
      name: on('pieces of a pending flow: pass'),
      rules: [pending],
      steps: steps('egress', out, same('pass untouched')),
    },
    {
      name: on('pieces of a held flow: dropped'),
      rules: [held],
      steps: steps('egress', out, same({ drop: 'HELD_FRAGMENT' })),
      kept: [],
    },
    {
      name: on('pieces of a flow that is held inbound: dropped'),
      rules: [heldInbound],
      steps: steps('ingress', pieces(heldInbound, heldInbound.wire, 'ingress'), [
        { drop: 'HELD' },
        { drop: 'HELD_FRAGMENT' },
        { drop: 'HELD_FRAGMENT' },
      ]),
    },
    {
      name: on('an echo request in pieces between the same addresses: passes'),
      rules: [udp],
      steps: steps('egress', echo(family), same('pass untouched')),
    },
    {
      name: on('later pieces of an echo request whose first was not seen: pass'),
      rules: [udp],
      steps: steps('egress', echo(family).slice(1), same('pass untouched')),
    },
  ];
}

function toStranger(rule: TestRule, family: Family): FlowTuple {
  return { ...rule.identity, remote: { ...rule.identity.remote, address: addresses[family].stranger } };
}

function echo(family: Family): Buffer[] {
  const { peer: from, old: to } = addresses[family];
  const inner = icmpFor(family, { type: family === 4 ? 8 : 128, body: payload(100) });
  return (
    family === 4 ? ipv4Fragments({ from, to }, inner, 48) : ipv6Fragments({ from, to, id: 5 }, inner, 48)
  ).map((one) => frame({}, one));
}

const v4 = flow({ protocol: 'udp' });
const v6 = flow({ family: 6, protocol: 'udp' });
const route = { options: Buffer.from('830704' + '0a080008', 'hex') };

const special: PacketCase[] = [
  {
    name: 'IPv4: pieces with a source route: all dropped',
    rules: [v4],
    steps: steps('egress', pieces(v4, v4.identity, 'egress', route), same({ drop: 'SOURCE_ROUTED' })),
  },
  {
    name: 'IPv6: pieces with a routing header in front: all dropped',
    rules: [v6],
    steps: steps(
      'egress',
      pieces(v6, v6.identity, 'egress', { extensions: [routingHeader(1)] }),
      same({ drop: 'SOURCE_ROUTED' }),
    ),
  },
  {
    name: 'IPv6: pieces with destination options in the fragmented part: translated',
    rules: [v6],
    steps: steps(
      'egress',
      pieces(v6, v6.identity, 'egress', { after: [destinationOptions()] }),
      pieces(v6, v6.wire, 'egress', { after: [destinationOptions()] }),
    ),
  },
  {
    name: 'IPv6: pieces with an authentication header: dropped',
    rules: [v6],
    steps: steps(
      'egress',
      pieces(v6, v6.identity, 'egress', { after: [authentication()] }).slice(0, 1),
      same({ drop: 'AUTHENTICATED' }),
    ),
  },
  {
    name: 'IPv4: pieces too small for the TCP checksum: dropped',
    rules: [flow()],
    steps: [
      {
        way: 'egress',
        packet: frame(
          {},
          ipv4Fragments(
            { from: '10.3.0.5', to: '10.1.0.7' },
            segment('tcp', flow().identity.local, flow().identity.remote),
            8,
          )[0] as Buffer,
        ),
        expect: { drop: 'REWRITE_FAILED' },
      },
    ],
  },
];

export const fragments: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) => [...activeFlows(family), ...otherFlows(family)]),
  ...special,
];
