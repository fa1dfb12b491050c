/**
 * Rules that look the route up again: packets are translated as ever, whole ones, pieces, errors about them. Where they then
 * go is tested on a real host (host-peers in e2e); here the machine has no route to any of these addresses to speak of.
 */
import { frame, ipv4Fragments, payload } from '../builder.js';
import type { PacketCase } from '../case.js';
import {
  addresses,
  errorAbout,
  flow,
  received,
  segment,
  sent,
  type Family,
  type TestRule,
} from '../topology.js';

function ofFlow(family: Family, protocol: 'tcp' | 'udp'): PacketCase[] {
  const on = (name: string): string => `reroute: ${name}, ${protocol} over IPv${family}`;
  const rule = flow({ family, protocol, portsChanged: true, reroute: true });
  const data = { payload: payload(40) };
  const out = frame({}, sent(rule, rule.identity, data));
  const back = frame({}, received(rule, rule.wire, data));
  return [
    {
      name: on('both ways are translated'),
      rules: [rule],
      steps: [
        { way: 'egress', packet: out, expect: frame({}, sent(rule, rule.wire, data)), rerouted: true },
        {
          way: 'ingress',
          packet: back,
          expect: frame({}, received(rule, rule.identity, data)),
          rerouted: true,
        },
      ],
      counters: [1, out.length, 1, back.length],
    },
    {
      name: on('behind a tag both ways are translated, and pass'),
      rules: [rule],
      steps: [
        {
          way: 'egress',
          packet: frame({ tags: [{ id: 5 }] }, sent(rule, rule.identity, data)),
          expect: frame({ tags: [{ id: 5 }] }, sent(rule, rule.wire, data)),
        },
        {
          way: 'ingress',
          packet: frame({ tags: [{ id: 5 }] }, received(rule, rule.wire, data)),
          expect: frame({ tags: [{ id: 5 }] }, received(rule, rule.identity, data)),
        },
      ],
    },
    errors(family, rule, on('errors about it are translated')),
  ];
}

function notTranslated(family: Family, protocol: 'tcp' | 'udp'): PacketCase[] {
  const on = (name: string): string => `reroute: ${name}, ${protocol} over IPv${family}`;
  const rule = flow({ family, protocol, portsChanged: true, reroute: true });
  const data = { payload: payload(40) };
  const out = frame({}, sent(rule, rule.identity, data));
  return [
    {
      name: on('pending, a packet goes where it went'),
      rules: [flow({ family, protocol, state: 'pending', reroute: true })],
      steps: [{ way: 'egress', packet: out, expect: 'pass untouched' }],
    },
    {
      name: on('held, it is kept'),
      rules: [{ ...rule, state: 'held' }],
      steps: [{ way: 'egress', packet: out, expect: { drop: 'HELD' } }],
      kept: [{ kind: protocol === 'tcp' ? 'segment' : 'datagram', packet: sent(rule, rule.identity, data) }],
    },
    {
      name: on('a neighbour flow passes untouched'),
      rules: [rule],
      steps: [
        {
          way: 'egress',
          packet: frame({}, sent(rule, flow({ family, shift: 1 }).identity)),
          expect: 'pass untouched',
        },
      ],
    },
  ];
}

/** The far end says that its port is closed; we say that ours is. */
function errors(family: Family, rule: TestRule, name: string): PacketCase {
  const { old, new: moved, peer } = addresses[family];
  const told = (from: string, to: string, about: Buffer): Buffer =>
    frame({}, errorAbout('port unreachable', from, to, about));
  return {
    name,
    rules: [rule],
    steps: [
      {
        way: 'ingress',
        packet: told(moved, peer, sent(rule, rule.wire)),
        expect: told(old, peer, sent(rule, rule.identity)),
        rerouted: true,
      },
      {
        way: 'egress',
        packet: told(peer, old, received(rule, rule.identity)),
        expect: told(peer, moved, received(rule, rule.wire)),
        rerouted: true,
      },
    ],
  };
}

const udp = flow({ protocol: 'udp', reroute: true });
const whole = { payload: payload(64) };
const pieces = (tuple: TestRule['identity']): Buffer[] =>
  ipv4Fragments(
    { from: tuple.local.address, to: tuple.remote.address },
    segment('udp', tuple.local, tuple.remote, whole),
    32,
  );
const wirePieces = pieces(udp.wire);

export const reroutes: readonly PacketCase[] = [
  ...([4, 6] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).flatMap((protocol) => [
      ...ofFlow(family, protocol),
      ...notTranslated(family, protocol),
    ]),
  ),
  {
    name: 'reroute: the pieces of a datagram are translated',
    rules: [udp],
    steps: pieces(udp.identity).map((piece, i) => ({
      way: 'egress',
      packet: frame({}, piece),
      expect: frame({}, wirePieces[i] as Buffer),
      rerouted: true,
    })),
  },
];
