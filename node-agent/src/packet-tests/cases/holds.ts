/** Held flows: what is kept for the replay, and what replay makes of it. */
import { frame, payload, tcp as tcpSegment } from '../builder.js';
import { single, type KeptExpected, type PacketCase, type Step } from '../case.js';
import { flow, ip, sent, type Family, type PacketFields, type TestRule } from '../topology.js';

const tcp = flow({ state: 'held' });
const udp = flow({ protocol: 'udp', state: 'held' });
const start = 0xffff_fff0; // sequence numbers wrap around in these cases

function held(rule: TestRule, fields: PacketFields, gso?: Step['gso']): Step {
  const packet = frame({}, sent(rule, rule.identity, fields));
  return { way: 'egress', packet, expect: { drop: 'HELD' }, ...(gso === undefined ? {} : { gso }) };
}

function kept(kind: KeptExpected['kind'], rule: TestRule, fields: PacketFields): KeptExpected {
  return { kind, packet: sent(rule, rule.identity, fields) };
}

interface Row {
  name: string;
  sends: PacketFields[];
  keeps: Array<[KeptExpected['kind'], PacketFields]>;
}

function row({ name, sends, keeps }: Row, family: Family): PacketCase {
  const rule = flow({ family, state: 'held' });
  return {
    name: `${name}, IPv${family}`,
    rules: [rule],
    steps: sends.map((fields) => held(rule, fields)),
    kept: keeps.map(([kind, fields]) => kept(kind, rule, fields)),
    counters: [0, 0, 0, 0],
  };
}

const segmentAt = (offset: number, length = 10): PacketFields => ({
  sequence: (start + offset) >>> 0,
  payload: payload(length, offset),
});
const acknowledgement = (acknowledged: number, window = 500): PacketFields => ({
  sequence: start,
  acknowledgement: acknowledged,
  window,
});
const keepalive: PacketFields = { sequence: start - 1 };
const probe: PacketFields = { sequence: start - 1, payload: payload(1), flags: 'A' };
const oneByte: PacketFields = { sequence: start, payload: payload(1), flags: 'PA' };
const syn: PacketFields = { flags: 'S', sequence: start, options: Buffer.from('020405b4', 'hex') };
const fin: PacketFields = { flags: 'FA', sequence: start };
const reset: PacketFields = { flags: 'R', sequence: start };

const rows: Row[] = [
  {
    name: 'segments are kept in their order',
    sends: [segmentAt(0), segmentAt(20), segmentAt(10)],
    keeps: [
      ['segment', segmentAt(0)],
      ['segment', segmentAt(10)],
      ['segment', segmentAt(20)],
    ],
  },
  {
    name: 'of many segments the first ones and the newest are kept',
    sends: Array.from({ length: 30 }, (_, i) => segmentAt(i * 10)),
    keeps: [0, 1, 2, 3, 4, 5, 6, 7, 29].map((i) => ['segment', segmentAt(i * 10)]),
  },
  {
    name: 'of more segments than a hold keeps the first ones stay',
    sends: Array.from({ length: 70 }, (_, i) => segmentAt(i * 10)),
    keeps: [0, 1, 2, 3, 4, 5, 6, 7, 64].map((i) => ['segment', segmentAt(i * 10)]),
  },
  {
    name: 'the lowest one sent again makes the later ones pointless',
    sends: [segmentAt(0), segmentAt(10), segmentAt(0, 20)],
    keeps: [['segment', segmentAt(0, 20)]],
  },
  {
    name: 'a lower sequence number takes the place of a higher one',
    sends: [segmentAt(20), segmentAt(0)],
    keeps: [['segment', segmentAt(0)]],
  },
  {
    name: 'a lower one beyond the wrap-around',
    sends: [segmentAt(40), segmentAt(10), segmentAt(20)],
    keeps: [
      ['segment', segmentAt(10)],
      ['segment', segmentAt(20)],
    ],
  },
  {
    name: 'the same one sent again is newer',
    sends: [segmentAt(0), segmentAt(0, 20)],
    keeps: [['segment', segmentAt(0, 20)]],
  },
  { name: 'a keepalive is no segment', sends: [keepalive, segmentAt(0)], keeps: [['segment', segmentAt(0)]] },
  {
    name: 'a keepalive behind the segment goes after it',
    sends: [segmentAt(0), keepalive],
    keeps: [
      ['segment', segmentAt(0)],
      ['acknowledgement', keepalive],
    ],
  },
  { name: 'a keepalive alone is kept', sends: [keepalive], keeps: [['acknowledgement', keepalive]] },
  {
    name: 'a probe of one byte is no segment',
    sends: [probe, segmentAt(0)],
    keeps: [['segment', segmentAt(0)]],
  },
  {
    name: 'one byte that an application wrote is one',
    sends: [oneByte, segmentAt(1)],
    keeps: [
      ['segment', oneByte],
      ['segment', segmentAt(1)],
    ],
  },
  { name: 'a SYN is kept whole', sends: [syn, syn], keeps: [['segment', syn]] },
  { name: 'a FIN is kept', sends: [fin], keeps: [['segment', fin]] },
  {
    name: 'the newest acknowledgement is kept',
    sends: [acknowledgement(5), acknowledgement(9), acknowledgement(7)],
    keeps: [['acknowledgement', acknowledgement(9)]],
  },
  {
    name: 'the same acknowledgement with another window is newer',
    sends: [acknowledgement(5), acknowledgement(5, 9)],
    keeps: [['acknowledgement', acknowledgement(5, 9)]],
  },
  {
    name: 'an acknowledgement that says less than the segment is left out',
    sends: [acknowledgement(1), segmentAt(0)],
    keeps: [['segment', segmentAt(0)]],
  },
  {
    name: 'a reset makes the rest pointless',
    sends: [segmentAt(0), acknowledgement(5), reset],
    keeps: [['reset', reset]],
  },
];

const long = { sequence: start, payload: payload(3000) };
const gso: PacketCase = {
  name: 'of a GSO packet the first segment is kept, without push',
  rules: [tcp],
  steps: [held(tcp, long, { size: 1000, segments: 3 })],
  kept: [kept('segment', tcp, { sequence: start, payload: payload(3000).subarray(0, 1000), flags: 'A' })],
};
const gso6: PacketCase = { ...gso, name: `${gso.name}, IPv6`, ...gsoOfSix() };

function gsoOfSix(): Pick<PacketCase, 'rules' | 'steps' | 'kept'> {
  const rule = flow({ family: 6, state: 'held' });
  const wanted = { sequence: start, payload: payload(3000).subarray(0, 1000), flags: 'A' };
  return {
    rules: [rule],
    steps: [held(rule, long, { size: 1000, segments: 3 })],
    kept: [kept('segment', rule, wanted)],
  };
}

const shapes: PacketCase[] = [
  gso,
  gso6,
  {
    name: 'a checksum that was left to the device is completed',
    rules: [tcp],
    steps: [held(tcp, { ...segmentAt(0), checksum: 0x1234 })],
    kept: [kept('segment', tcp, segmentAt(0))],
  },
  {
    name: 'padding of a short frame is not kept',
    rules: [tcp],
    steps: [
      {
        way: 'egress',
        packet: frame({ padTo: 60 }, sent(tcp, tcp.identity, { payload: payload(2) })),
        expect: { drop: 'HELD' },
      },
    ],
    kept: [kept('segment', tcp, { payload: payload(2) })],
  },
  {
    name: 'a tagged packet is kept without its tags',
    rules: [tcp],
    steps: [
      {
        way: 'egress',
        packet: frame({ tags: [{ id: 3 }, { id: 4 }] }, sent(tcp, tcp.identity, segmentAt(0))),
        expect: { drop: 'HELD' },
      },
    ],
    kept: [kept('segment', tcp, segmentAt(0))],
  },
  {
    name: 'a segment with IP options is kept with them',
    rules: [tcp],
    steps: [held(tcp, { ...segmentAt(0), ip: { options: Buffer.from('07070400000000', 'hex') } })],
    kept: [kept('segment', tcp, { ...segmentAt(0), ip: { options: Buffer.from('07070400000000', 'hex') } })],
  },
];

const datagrams = (count: number, from = 0): PacketFields[] =>
  Array.from({ length: count }, (_, i) => ({ payload: payload(20, from + i) }));

const udpCases: PacketCase[] = ([4, 6] as const).flatMap((family) => {
  const rule = flow({ family, protocol: 'udp', state: 'held' });
  return [
    {
      name: `every datagram is kept, IPv${family}`,
      rules: [rule],
      steps: datagrams(3).map((fields) => held(rule, fields)),
      kept: datagrams(3).map((fields) => kept('datagram', rule, fields)),
    },
    {
      name: `the oldest datagrams are pushed out and counted, IPv${family}`,
      rules: [rule],
      steps: datagrams(66).map((fields) => held(rule, fields)),
      kept: datagrams(64, 2).map((fields) => kept('datagram', rule, fields)),
      overflow: 2,
    },
  ];
});

const refused: PacketCase[] = [
  {
    name: 'several datagrams in one GSO packet can not be told apart: none is kept',
    rules: [udp],
    steps: [
      {
        way: 'egress',
        packet: frame({}, sent(udp, udp.identity, { payload: payload(3000) })),
        gso: { size: 1000, segments: 3 },
        expect: { drop: 'HELD_FRAGMENT' },
      },
    ],
    kept: [],
  },
  single(
    'a TCP header that is cut off',
    { rules: [tcp], way: 'egress', packet: frame({}, sent(tcp, tcp.identity)).subarray(0, 45), kept: [] },
    { drop: 'TRUNCATED' },
  ),
  single(
    'a TCP header that claims more than there is',
    {
      rules: [tcp],
      way: 'egress',
      packet: frame({}, sent(tcp, tcp.identity, { ip: { totalLength: 38 } })),
      kept: [],
    },
    { drop: 'TRUNCATED' },
  ),
  single(
    'a TCP header that claims less than a TCP header',
    { rules: [tcp], way: 'egress', packet: dataOffsetZero(), kept: [], wrongChecksums: [] },
    { drop: 'TRUNCATED' },
  ),
  single(
    'a UDP header behind the end of its packet',
    {
      rules: [udp],
      way: 'egress',
      packet: frame({}, sent(udp, udp.identity, { ip: { totalLength: 24 } })),
      kept: [],
    },
    { drop: 'TRUNCATED' },
  ),
  {
    name: 'with the ring buffer full a datagram is dropped under a reason of its own',
    rules: [udp],
    steps: [
      { ...held(udp, { payload: payload(1000) }), repeat: 20000 },
      { ...held(udp, { payload: payload(1000) }), expect: { drop: 'HELD_RING_FULL' } },
    ],
  },
  {
    name: 'with the ring buffer full a segment is not noted as kept: it counts again each time',
    rules: [udp, { ...tcp, flowId: 0x52n }],
    steps: [
      { ...held(udp, { payload: payload(1000) }), repeat: 20000 },
      { ...held(tcp, segmentAt(0)), expect: { drop: 'HELD_RING_FULL' } },
      { ...held(tcp, segmentAt(0)), expect: { drop: 'HELD_RING_FULL' } },
    ],
  },
];

function dataOffsetZero(): Buffer {
  const segment = tcpSegment({ from: tcp.identity.local.port, to: tcp.identity.remote.port });
  segment.bytes[12] = 0;
  return frame({}, ip(tcp.identity.local.address, tcp.identity.remote.address, segment));
}

export const holds: readonly PacketCase[] = [
  ...rows.flatMap((one) => [row(one, 4), row(one, 6)]),
  ...shapes,
  ...udpCases,
  ...refused,
];
