/** ICMP and ICMPv6 errors about translated flows, both ways: the quote is translated with the error. */
import type { Protocol } from '../../datapath/types.js';
import { frame, payload } from '../builder.js';
import { single, type Expected, type PacketCase } from '../case.js';
import {
  addresses,
  errorAbout,
  flow,
  received,
  sent,
  type ErrorName,
  type Family,
  type PacketFields,
  type Place,
  type TestRule,
} from '../topology.js';

/** How much of the packet is quoted: headers and 8 bytes of the transport header (RFC 792), or all of it. */
type Quote = 'ports only' | 'whole';

function quoteOf(packet: Buffer, quote: Quote): Buffer {
  const header = (packet[0] as number) >> 4 === 6 ? 40 : ((packet[0] as number) & 15) * 4;
  return quote === 'whole' ? packet : packet.subarray(0, header + 8);
}

/**
 * An error that comes in is about a packet that the pod sent, as it was on the wire; `from` is who tells. It is told
 * to the wire address, and comes out told to the identity's.
 */
function toldToPod(
  rule: TestRule,
  name: ErrorName,
  from: string,
  quote: Quote,
  fields: PacketFields = {},
): [Buffer, Buffer] {
  const isFarEnd = from === rule.wire.remote.address;
  const build = (tuple: TestRule['wire']): Buffer =>
    frame(
      {},
      errorAbout(
        name,
        isFarEnd ? tuple.remote.address : from,
        tuple.local.address,
        quoteOf(sent(rule, tuple, fields), quote),
      ),
    );
  return [build(rule.wire), build(rule.identity)];
}

/** An error that goes out is about a packet that the pod got, in identity. */
function toldByPod(
  rule: TestRule,
  name: ErrorName,
  quote: Quote,
  fields: PacketFields = {},
): [Buffer, Buffer] {
  const build = (tuple: TestRule['wire']): Buffer =>
    frame(
      {},
      errorAbout(
        name,
        tuple.local.address,
        tuple.remote.address,
        quoteOf(received(rule, tuple, fields), quote),
      ),
    );
  return [build(rule.identity), build(rule.wire)];
}

const data = { payload: payload(64) };

function inbound(
  name: string,
  rule: TestRule,
  at: Place,
  [packet, wanted]: [Buffer, Buffer],
  expect: Expected = wanted,
): PacketCase {
  return single(name, { pod: at, rules: [rule], way: 'ingress', packet }, expect);
}

function outbound(
  name: string,
  rule: TestRule,
  at: Place,
  [packet, wanted]: [Buffer, Buffer],
  expect: Expected = wanted,
): PacketCase {
  return single(name, { pod: at, rules: [rule], way: 'egress', packet }, expect);
}

const names: readonly ErrorName[] = [
  'port unreachable',
  'packet too big',
  'time exceeded',
  'parameter problem',
];
const families: readonly Family[] = [4, 6];
const protocols: readonly Protocol[] = ['tcp', 'udp'];
const quotes: readonly Quote[] = ['ports only', 'whole'];

const combinations: PacketCase[] = families.flatMap((family) =>
  protocols.flatMap((protocol) =>
    (['peer', 'moved'] as const).flatMap((at) => {
      const rule = flow({ family, protocol, at, portsChanged: true });
      const on = `IPv${family}, ${protocol.toUpperCase()}, at the ${at === 'peer' ? 'peer' : 'moved pod'}`;
      const { router } = addresses[family];
      const far = rule.wire.remote.address;
      return quotes.flatMap((quote) =>
        names.flatMap((name) => [
          inbound(
            `${name} from a router, quoting ${quote}: ${on}`,
            rule,
            at,
            toldToPod(rule, name, router, quote, data),
          ),
          inbound(
            `${name} from the far end, quoting ${quote}: ${on}`,
            rule,
            at,
            toldToPod(rule, name, far, quote, data),
          ),
          outbound(
            `${name} told by the pod, quoting ${quote}: ${on}`,
            rule,
            at,
            toldByPod(rule, name, quote, data),
          ),
        ]),
      );
    }),
  ),
);

function states(family: Family): PacketCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const { router } = addresses[family];
  const same = flow({ family });
  const pending = flow({ family, state: 'pending' });
  const held = flow({ family, state: 'held' });
  const heldInbound = flow({ family, inbound: 'held' });
  const pendingInbound = flow({ family, inbound: 'pending' });
  const big: ErrorName = 'packet too big';
  const fromRouter = toldToPod(same, big, router, 'ports only');
  return [
    inbound(on('packet too big, ports unchanged'), same, 'peer', fromRouter),
    inbound(on('packet too big about a pending flow, as the network knows it'), pending, 'peer', fromRouter),
    outbound(
      on('port unreachable told about a pending flow'),
      pending,
      'peer',
      toldByPod(pending, 'port unreachable', 'whole'),
      'pass untouched',
    ),
    outbound(
      on('port unreachable told about a held flow'),
      held,
      'peer',
      toldByPod(held, 'port unreachable', 'whole'),
      { drop: 'HELD' },
    ),
    inbound(on('packet too big about a flow that is held inbound'), heldInbound, 'peer', fromRouter, {
      drop: 'HELD',
    }),
    inbound(
      on('packet too big about a flow that is pending inbound'),
      pendingInbound,
      'peer',
      fromRouter,
      'pass untouched',
    ),
    inbound(
      on('packet too big about a packet to OLD'),
      same,
      'peer',
      [identityQuote(same, router), Buffer.alloc(0)],
      'pass untouched',
    ),
    inbound(
      on('packet too big told to somebody else'),
      same,
      'peer',
      [toldElsewhere(same, router, family), Buffer.alloc(0)],
      'pass untouched',
    ),
  ];
}

function withoutChecksum(family: Family, at: Place): PacketCase {
  const rule = flow({ family, protocol: 'udp', at, portsChanged: true });
  const fields = { ...data, checksum: 0 };
  const name = `a quoted datagram without checksum stays without, at the ${at}, IPv${family}`;
  return inbound(
    name,
    rule,
    at,
    toldToPod(rule, 'packet too big', addresses[family].router, 'whole', fields),
  );
}

/** About a packet that was on the wire as its identity, before the move: not ours. */
function identityQuote(rule: TestRule, router: string): Buffer {
  return frame(
    {},
    errorAbout('packet too big', router, rule.identity.local.address, sent(rule, rule.identity)),
  );
}

function toldElsewhere(rule: TestRule, router: string, family: Family): Buffer {
  return frame({}, errorAbout('packet too big', router, addresses[family].stranger, sent(rule, rule.wire)));
}

export const errors: readonly PacketCase[] = [
  ...combinations,
  ...families.flatMap((family) => [
    ...states(family),
    withoutChecksum(family, 'peer'),
    withoutChecksum(family, 'moved'),
  ]),
];
