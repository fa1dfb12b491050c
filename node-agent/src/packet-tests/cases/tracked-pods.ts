/** A pod whose UDP sessions are noted: by identity, seen from the pod, whichever way a datagram goes. */
import { frame, ipv4Fragments, payload } from '../builder.js';
import type { PacketCase, Step } from '../case.js';
import { addresses, flow, received, segment, sent, type Family } from '../topology.js';

const untouched = 'pass untouched' as const;

function ofFamily(family: Family): PacketCase[] {
  const on = (name: string): string => `tracked pod: ${name}, IPv${family}`;
  const { peer, old } = addresses[family];
  const udp = flow({ family, protocol: 'udp', portsChanged: true });
  const tcp = flow({ family });
  const session = `${peer} 40000 ${old} 6379`;
  const out: Step = { way: 'egress', packet: frame({}, sent(udp, udp.identity)), expect: untouched };
  const back: Step = { way: 'ingress', packet: frame({}, received(udp, udp.identity)), expect: untouched };
  return [
    { name: on('a datagram out'), tracked: true, steps: [out], sessions: [session] },
    { name: on('a datagram in'), tracked: true, steps: [back], sessions: [session] },
    { name: on('both make one session'), tracked: true, steps: [out, back, out], sessions: [session] },
    {
      name: on('behind a tag'),
      tracked: true,
      steps: [{ ...out, packet: frame({ tags: [{ id: 5 }] }, sent(udp, udp.identity)) }],
      sessions: [session],
    },
    {
      name: on('of a translated flow, in identity'),
      tracked: true,
      rules: [udp],
      steps: [
        { ...out, expect: frame({}, sent(udp, udp.wire)) },
        {
          way: 'ingress',
          packet: frame({}, received(udp, udp.wire)),
          expect: frame({}, received(udp, udp.identity)),
        },
      ],
      sessions: [session],
    },
    {
      name: on('no segment'),
      tracked: true,
      steps: [{ ...out, packet: frame({}, sent(tcp, tcp.identity)) }],
      sessions: [],
    },
    {
      name: on('nothing that a hold keeps back'),
      tracked: true,
      held: true,
      steps: [{ ...out, expect: { drop: 'HELD_POD' } }],
      sessions: [],
    },
    { name: on('of another pod nothing'), steps: [out], sessions: [] },
  ];
}

const udp = flow({ protocol: 'udp' });
const pieces = ipv4Fragments(
  { from: addresses[4].peer, to: addresses[4].old },
  segment('udp', udp.identity.local, udp.identity.remote, { payload: payload(64) }),
  32,
);

export const trackedPods: readonly PacketCase[] = [
  ...ofFamily(4),
  ...ofFamily(6),
  {
    name: 'tracked pod: a datagram in pieces',
    tracked: true,
    steps: pieces.map((piece) => ({ way: 'egress', packet: frame({}, piece), expect: untouched })),
    sessions: [`${addresses[4].peer} 40000 ${addresses[4].old} 6379`],
  },
];
