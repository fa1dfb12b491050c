/** IP options, extension headers, headers that are cut off. */
import {
  authenticatedIpv4,
  authentication,
  destinationOptions,
  fragmentHeader,
  frame,
  hopByHop,
  payload,
  routingHeader,
  type Extension,
} from '../builder.js';
import { single, type Expected, type PacketCase } from '../case.js';
import { addresses, flow, received, segment, sent, type PacketFields, type TestRule } from '../topology.js';

const data = { payload: payload(24) };
const v4 = flow({ portsChanged: true });
const v6 = flow({ family: 6, portsChanged: true });

function withIp(ip: PacketFields['ip']): PacketFields {
  return { ...data, ...(ip === undefined ? {} : { ip }) };
}

function goesOut(name: string, rule: TestRule, ip: PacketFields['ip'], expect?: Expected): PacketCase {
  const wanted = expect ?? frame({}, sent(rule, rule.wire, withIp(ip)));
  return single(
    name,
    { rules: [rule], way: 'egress', packet: frame({}, sent(rule, rule.identity, withIp(ip))) },
    wanted,
  );
}

function comesIn(name: string, rule: TestRule, ip: PacketFields['ip'], expect?: Expected): PacketCase {
  const wanted = expect ?? frame({}, received(rule, rule.identity, withIp(ip)));
  return single(
    name,
    { rules: [rule], way: 'ingress', packet: frame({}, received(rule, rule.wire, withIp(ip))) },
    wanted,
  );
}

const option = (hex: string): { options: Buffer } => ({ options: Buffer.from(hex, 'hex') });
// Type, length, pointer, hops. The pointer counts from 1 and stands behind the end when no hop is left.
const recordRoute = option('070704' + '00000000');
const looseWithHops = option('830704' + '0a080008');
const looseExhausted = option('830708' + '0a080008');
const strictWithHops = option('890b08' + '0a0800080a080009');
const behindPadding = option('0101' + '0703' + '04' + '830704' + '0a080008');
const allNops = option('01'.repeat(40));
const longest = option('0727' + '04' + '00'.repeat(36));
const foreignRoute = flow({ shift: 1 });

const options: PacketCase[] = [
  goesOut('IPv4 record route: translated', v4, recordRoute),
  comesIn('IPv4 record route, inbound: translated', v4, recordRoute),
  goesOut('IPv4 options filled with no-operation: translated', v4, allNops),
  goesOut('IPv4 record route of the greatest length: translated', v4, longest),
  goesOut('IPv4 loose source route with hops left: dropped', v4, looseWithHops, { drop: 'SOURCE_ROUTED' }),
  comesIn('IPv4 loose source route with hops left, inbound: dropped', v4, looseWithHops, {
    drop: 'SOURCE_ROUTED',
  }),
  goesOut('IPv4 strict source route with hops left: dropped', v4, strictWithHops, { drop: 'SOURCE_ROUTED' }),
  goesOut('IPv4 source route behind other options: dropped', v4, behindPadding, { drop: 'SOURCE_ROUTED' }),
  goesOut('IPv4 loose source route without hops left: translated', v4, looseExhausted),
  single(
    'IPv4 source route of a flow without a rule: passes',
    { rules: [foreignRoute], way: 'egress', packet: frame({}, sent(v4, v4.identity, withIp(looseWithHops))) },
    'pass untouched',
  ),
];

const chain = (...extensions: Extension[]): { extensions: Extension[] } => ({ extensions });
const several = Array.from({ length: 8 }, () => destinationOptions());

const extensions: PacketCase[] = [
  goesOut('IPv6 hop-by-hop options: translated', v6, chain(hopByHop())),
  comesIn('IPv6 hop-by-hop options, inbound: translated', v6, chain(hopByHop())),
  goesOut('IPv6 destination options: translated', v6, chain(destinationOptions(24))),
  goesOut(
    'IPv6 hop-by-hop, routing at its end, destination options: translated',
    v6,
    chain(hopByHop(), routingHeader(0), destinationOptions()),
  ),
  goesOut('IPv6 fragment header of a whole datagram: translated', v6, chain(fragmentHeader(9, 0, false))),
  goesOut(
    'IPv6 extension headers beyond the reach of direct access: translated',
    v6,
    chain(destinationOptions(80)),
  ),
  goesOut('IPv6 extension headers of 2 KiB: translated', v6, chain(destinationOptions(2048))),
  goesOut('IPv6 routing header with segments left: dropped', v6, chain(routingHeader(1)), {
    drop: 'SOURCE_ROUTED',
  }),
  comesIn('IPv6 routing header with segments left, inbound: dropped', v6, chain(routingHeader(1)), {
    drop: 'SOURCE_ROUTED',
  }),
  goesOut('IPv6 authentication header: dropped', v6, chain(authentication()), { drop: 'AUTHENTICATED' }),
  goesOut('IPv6, as many extension headers as are followed: translated', v6, chain(...several)),
  goesOut('IPv6, too many extension headers: dropped', v6, chain(...several, destinationOptions()), {
    drop: 'HEADER_CHAIN',
  }),
  single(
    'IPv6, too many extension headers between other addresses: passes',
    {
      rules: [v6],
      way: 'egress',
      packet: frame(
        {},
        sent(
          v6,
          { ...v6.identity, remote: { address: addresses[6].stranger, port: 1 } },
          withIp(chain(...several, hopByHop())),
        ),
      ),
    },
    'pass untouched',
  ),
  single(
    'IPv4 authentication header: dropped',
    { rules: [v4], way: 'egress', packet: frame({}, authenticated(v4)) },
    { drop: 'AUTHENTICATED' },
  ),
  single(
    'IPv4 authentication header of a flow without a rule: passes',
    { rules: [foreignRoute], way: 'egress', packet: frame({}, authenticated(v4)) },
    'pass untouched',
  ),
];

function authenticated({ identity }: TestRule): Buffer {
  return authenticatedIpv4(
    { from: identity.local.address, to: identity.remote.address },
    segment('tcp', identity.local, identity.remote, data),
  );
}

/** The frame's first bytes. */
function cut(rule: TestRule, length: number, fields: PacketFields = data): Buffer {
  return frame({}, sent(rule, rule.identity, fields)).subarray(0, length);
}

const udp = flow({ protocol: 'udp' });
const stranger = { ...v4.identity, remote: { address: addresses[4].stranger, port: 6379 } };
const cutOff: PacketCase[] = [
  single(
    'IPv4, cut off within the ports: dropped',
    { rules: [v4], way: 'egress', packet: cut(v4, 37) },
    { drop: 'TRUNCATED' },
  ),
  single(
    'IPv6, cut off within the ports: dropped',
    { rules: [v6], way: 'egress', packet: cut(v6, 57) },
    { drop: 'TRUNCATED' },
  ),
  single(
    'IPv6, cut off within an extension header: dropped',
    { rules: [v6], way: 'egress', packet: cut(v6, 58, withIp(chain(hopByHop()))) },
    { drop: 'TRUNCATED' },
  ),
  single(
    'IPv4, cut off within the ports between other addresses: passes',
    { rules: [v4], way: 'egress', packet: frame({}, sent(v4, stranger, data)).subarray(0, 37) },
    'pass untouched',
  ),
  single(
    'IPv4, cut off within the TCP header: dropped',
    { rules: [v4], way: 'egress', packet: cut(v4, 45) },
    { drop: 'REWRITE_FAILED' },
  ),
  single(
    'IPv6, cut off within the TCP header: dropped',
    { rules: [v6], way: 'egress', packet: cut(v6, 65) },
    { drop: 'REWRITE_FAILED' },
  ),
  single(
    'IPv4, cut off within the UDP header: dropped',
    { rules: [udp], way: 'egress', packet: cut(udp, 40) },
    { drop: 'REWRITE_FAILED' },
  ),
  single(
    'IPv4, cut off within the payload: translated',
    { rules: [v4], way: 'egress', packet: cut(v4, 60) },
    frame({}, sent(v4, v4.wire, data)).subarray(0, 60),
  ),
];

export const headers: readonly PacketCase[] = [...options, ...extensions, ...cutOff];
