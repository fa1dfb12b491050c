/** What comes from a replica that its connection was taken from: dropped, whatever it is; outbound packets are not concerned. */
import { frame, ipv4Fragments, payload } from '../builder.js';
import { single, type Expected, type PacketCase } from '../case.js';
import { errorAbout, flow, received, segment, sent, type Family } from '../topology.js';

const dropped: Expected = { drop: 'GIVEN_UP' };

function ofFamily(family: Family): PacketCase[] {
  const on = (name: string): string => `given up: ${name}, IPv${family}`;
  const rule = { ...flow({ family }), inbound: 'refused' as const };
  const { wire, identity } = rule;
  const into = (name: string, packet: Buffer, expect: Expected): PacketCase =>
    single(on(name), { rules: [rule], way: 'ingress', packet: frame({}, packet) }, expect);
  const quoted = sent(rule, wire, { flags: 'S' });
  return [
    into('a late answer', received(rule, wire, { flags: 'SA' }), dropped),
    into('a reset', received(rule, wire, { flags: 'RA' }), dropped),
    into(
      'that it can not be reached',
      errorAbout('port unreachable', wire.remote.address, wire.local.address, quoted),
      dropped,
    ),
    single(
      on('what goes out is translated'),
      { rules: [rule], way: 'egress', packet: frame({}, sent(rule, identity, { flags: 'S' })) },
      frame({}, sent(rule, wire, { flags: 'S' })),
    ),
  ];
}

function inPieces(): PacketCase {
  const rule = { ...flow({ family: 4 }), inbound: 'refused' as const };
  const { local, remote } = rule.wire;
  const pieces = ipv4Fragments(
    { from: remote.address, to: local.address },
    segment('tcp', remote, local, { payload: payload(200) }),
    64,
  );
  return {
    name: 'given up: a segment in pieces, IPv4',
    rules: [rule],
    steps: pieces.map((piece) => ({ way: 'ingress', packet: frame({}, piece), expect: dropped })),
  };
}

export const givenUp: readonly PacketCase[] = [...ofFamily(4), ...ofFamily(6), inPieces()];
