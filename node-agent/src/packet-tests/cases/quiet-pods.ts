/** A quiesced pod: what opens a connection is kept and dropped, either way; everything else passes. */
import { frame, ipv4Fragments, payload } from '../builder.js';
import { single, type Expected, type PacketCase } from '../case.js';
import { flow, icmpFor, ip, addresses, received, segment, sent, type Family } from '../topology.js';

const dropped: Expected = { drop: 'HELD_NEW' };
const synFields = { flags: 'S', options: Buffer.from('020405b4', 'hex') };

function both(
  name: string,
  fields: Omit<PacketCase, 'name' | 'steps'> & { packet: Buffer },
  expect: Expected,
): PacketCase[] {
  return (['egress', 'ingress'] as const).map((way) =>
    single(`quiesced pod: ${name}, ${way}`, { quiet: true, ...fields, way }, expect),
  );
}

function ofFamily(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const { peer, old } = addresses[family];
  const tcp = flow({ family });
  const udp = flow({ family, protocol: 'udp' });
  const untouched = (name: string, bytes: Buffer): PacketCase[] =>
    both(on(name), { packet: frame({}, bytes), kept: [] }, 'pass untouched');
  return [
    ...both(
      on('a SYN is kept'),
      {
        packet: frame({}, sent(tcp, tcp.identity, synFields)),
        kept: [{ kind: 'segment', packet: sent(tcp, tcp.identity, synFields) }],
      },
      dropped,
    ),
    ...both(
      on('a SYN behind a tag is kept'),
      {
        packet: frame({ tags: [{ id: 5 }] }, sent(tcp, tcp.identity, synFields)),
        kept: [{ kind: 'segment', packet: sent(tcp, tcp.identity, synFields) }],
      },
      dropped,
    ),
    ...both(
      on('a SYN that carries data is kept whole'),
      {
        packet: frame({}, sent(tcp, tcp.identity, { flags: 'S', payload: payload(40) })),
        kept: [{ kind: 'segment', packet: sent(tcp, tcp.identity, { flags: 'S', payload: payload(40) }) }],
      },
      dropped,
    ),
    ...untouched('a SYN with ACK', sent(tcp, tcp.identity, { flags: 'SA' })),
    ...untouched('a segment', sent(tcp, tcp.identity, { payload: payload(5) })),
    ...untouched('a reset', sent(tcp, tcp.identity, { flags: 'RA' })),
    ...untouched('the last segment', sent(tcp, tcp.identity, { flags: 'FA' })),
    ...untouched('a datagram', sent(udp, udp.identity)),
    ...untouched('an echo request', ip(peer, old, icmpFor(family, { type: family === 4 ? 8 : 128 }))),
  ];
}

function withRules(family: Family): PacketCase[] {
  const on = (name: string): string => `quiesced pod: ${name}, IPv${family}`;
  const known = flow({ family });
  return [
    single(
      on('a SYN of a translated flow is translated'),
      {
        quiet: true,
        rules: [known],
        way: 'egress',
        packet: frame({}, sent(known, known.identity, synFields)),
      },
      frame({}, sent(known, known.wire, synFields)),
    ),
    single(
      on('a SYN of a translated flow is translated, inbound'),
      {
        quiet: true,
        rules: [known],
        way: 'ingress',
        packet: frame({}, received(known, known.wire, synFields)),
      },
      frame({}, received(known, known.identity, synFields)),
    ),
    single(
      on('a SYN of a pending flow passes'),
      {
        quiet: true,
        rules: [flow({ family, state: 'pending' })],
        way: 'egress',
        packet: frame({}, sent(known, known.identity, synFields)),
        kept: [],
      },
      'pass untouched',
    ),
    {
      name: on('held as well, a SYN is kept under the stronger reason'),
      quiet: true,
      held: true,
      steps: [
        {
          way: 'egress',
          packet: frame({}, sent(known, known.identity, synFields)),
          expect: { drop: 'HELD_POD' },
        },
        { way: 'ingress', packet: frame({}, received(known, known.wire)), expect: { drop: 'HELD_POD' } },
      ],
      kept: [{ kind: 'segment', packet: sent(known, known.identity, synFields) }],
    },
  ];
}

const plain = flow();
const pieces = ipv4Fragments(
  { from: addresses[4].peer, to: addresses[4].old },
  segment('tcp', plain.identity.local, plain.identity.remote, { flags: 'S', payload: payload(64) }),
  32,
);
const cut = frame({}, sent(plain, plain.identity, synFields)).subarray(0, 54 + 2);
const routed = { ip: { options: Buffer.from('8307040a08000800', 'hex') }, ...synFields };

export const quietPods: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) => [...ofFamily(family), ...withRules(family)]),
  ...both('a SYN in pieces is not let in', { packet: frame({}, pieces[0] as Buffer), kept: [] }, dropped),
  ...both('a later piece passes', { packet: frame({}, pieces[1] as Buffer), kept: [] }, 'pass untouched'),
  ...both('a SYN whose options are cut off is none', { packet: cut, kept: [] }, 'pass untouched'),
  ...both(
    'a source-routed SYN is not let in',
    { packet: frame({}, sent(plain, plain.identity, routed)), kept: [] },
    dropped,
  ),
  {
    name: 'quiesced pod: another pod is not concerned',
    pod: 'other',
    steps: [
      { way: 'egress', packet: frame({}, sent(plain, plain.identity, synFields)), expect: 'pass untouched' },
    ],
  },
];
