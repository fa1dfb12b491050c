/** A pod that is held as a whole: nothing enters or leaves but neighbour discovery and ARP; new connections are kept. */
import {
  arpRequest,
  frame,
  ipv4Fragments,
  neighbourDiscovery,
  payload,
  protocols,
  raw,
  udp as udpSegment,
} from '../builder.js';
import { single, type Expected, type PacketCase, type Step } from '../case.js';
import { addresses, flow, icmpFor, ip, received, sent, type Family } from '../topology.js';

const dropped: Expected = { drop: 'HELD_POD' };

function both(
  name: string,
  fields: Omit<PacketCase, 'name' | 'steps'> & { packet: Buffer },
  expect: Expected,
): PacketCase[] {
  return (['egress', 'ingress'] as const).map((way) =>
    single(`held pod: ${name}, ${way}`, { held: true, ...fields, way }, expect),
  );
}

function ofFamily(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const { peer, old } = addresses[family];
  const plain = flow({ family });
  const udp = flow({ family, protocol: 'udp' });
  const synFields = { flags: 'S', options: Buffer.from('020405b4', 'hex') };
  const echo = icmpFor(family, { type: family === 4 ? 8 : 128, body: payload(32) });
  const outgoing = { packet: frame({}, sent(plain, plain.identity, { payload: payload(5) })) };
  return [
    ...both(on('a segment'), { ...outgoing, kept: [] }, dropped),
    ...both(
      on('a segment behind a tag'),
      { packet: frame({ tags: [{ id: 5 }] }, sent(plain, plain.identity)), kept: [] },
      dropped,
    ),
    ...both(on('a datagram'), { packet: frame({}, sent(udp, udp.identity)), kept: [] }, dropped),
    ...both(on('an echo request'), { packet: frame({}, ip(peer, old, echo)) }, dropped),
    ...both(on('GRE'), { packet: frame({}, ip(peer, old, raw(protocols.gre, payload(16)))) }, dropped),
    ...both(
      on('a reset'),
      { packet: frame({}, sent(plain, plain.identity, { flags: 'RA' })), kept: [] },
      dropped,
    ),
    ...both(
      on('a SYN with ACK'),
      { packet: frame({}, sent(plain, plain.identity, { flags: 'SA' })), kept: [] },
      dropped,
    ),
    ...both(
      on('a SYN is kept'),
      {
        packet: frame({}, sent(plain, plain.identity, synFields)),
        kept: [{ kind: 'segment', packet: sent(plain, plain.identity, synFields) }],
      },
      dropped,
    ),
  ];
}

function withRules(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const plain = flow({ family });
  const udp = flow({ family, protocol: 'udp' });
  const outgoing = { packet: frame({}, sent(plain, plain.identity, { payload: payload(5) })) };
  const datagram = { packet: frame({}, sent(udp, udp.identity, { payload: payload(5) })) };
  return [
    single(
      `held pod: ${on('a segment of an active flow')}`,
      { held: true, rules: [plain], way: 'egress', ...outgoing, counters: [0, 0, 0, 0] },
      dropped,
    ),
    single(
      `held pod: ${on('a segment of an active flow, inbound')}`,
      {
        held: true,
        rules: [plain],
        way: 'ingress',
        packet: frame({}, received(plain, plain.wire)),
        counters: [0, 0, 0, 0],
      },
      dropped,
    ),
    {
      name: `held pod: ${on('a held flow keeps no segment, since its sender knows that it was not sent')}`,
      held: true,
      rules: [flow({ family, state: 'held' })],
      steps: [{ way: 'egress', ...outgoing, expect: dropped }],
      kept: [],
    },
    {
      name: `held pod: ${on('a held flow keeps datagrams as ever')}`,
      held: true,
      rules: [flow({ family, protocol: 'udp', state: 'held' })],
      steps: [{ way: 'egress', ...datagram, expect: { drop: 'HELD' } }],
      kept: [{ kind: 'datagram', packet: sent(udp, udp.identity, { payload: payload(5) }) }],
    },
  ];
}

const discovery: Step[] = [133, 134, 135, 136, 137].flatMap((type) =>
  (['egress', 'ingress'] as const).map((way): Step => ({
    way,
    packet: frame({}, neighbourDiscovery('fe80::1', 'fe80::2', type)),
    expect: 'pass untouched',
  })),
);

const mapped = frame({}, ip('::ffff:a03:5', '::ffff:a01:7', udpSegment({ from: 1, to: 2 })));
const mappedTagged = frame(
  { tags: [{ id: 5 }] },
  ip('::ffff:a03:5', '::ffff:a01:7', udpSegment({ from: 1, to: 2 })),
);
const piece = ipv4Fragments(
  { from: addresses[4].peer, to: addresses[4].old },
  raw(17, payload(64)),
  32,
)[1] as Buffer;
const plain = flow();

export const heldPods: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) => [...ofFamily(family), ...withRules(family)]),
  { name: 'held pod: neighbour discovery passes', held: true, steps: discovery },
  ...both('ARP', { packet: arpRequest(addresses[4].peer, addresses[4].old) }, 'pass untouched'),
  ...both(
    'multicast listener report',
    { packet: frame({}, ip('fe80::1', 'ff02::16', icmpFor(6, { type: 143 }))) },
    dropped,
  ),
  ...both('IPv4-mapped addresses in IPv6', { packet: mapped }, dropped),
  ...both('IPv4-mapped addresses in IPv6 behind a tag', { packet: mappedTagged }, dropped),
  ...both('a later fragment', { packet: frame({}, piece) }, dropped),
  {
    name: 'held pod: another pod is not concerned',
    pod: 'other',
    steps: [{ way: 'egress', packet: frame({}, sent(plain, plain.identity)), expect: 'pass untouched' }],
  },
];
