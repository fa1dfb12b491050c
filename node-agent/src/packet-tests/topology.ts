/**
 * Who talks to whom in the table cases, over IPv4 and IPv6 alike:
 *
 *        peer pod                      router                     site 1: OLD 10.1.0.7  fd00:1::7
 *   10.3.0.5  fd00:3::5  ---------  10.9.0.1  fd00:9::1  ------<                 | the pod has moved
 *        stranger                                                 site 2: NEW 10.2.0.9  fd00:2::9
 *   10.4.0.6  fd00:4::6
 *
 * The flow runs between the peer's port 40000 and the moved pod's port 6379. Its identity names OLD for ever; the wire
 * tuple names NEW, and other ports where "ports changed" is said.
 *
 *   at the peer:       identity peer -> OLD,  wire peer -> NEW
 *   at the moved pod:  identity OLD -> peer,  wire NEW -> peer
 */
import type { Endpoint, FlowRule, FlowState, FlowTuple, Protocol } from '../datapath/types.js';
import {
  icmp,
  icmp6,
  ipv4,
  ipv6,
  tcp,
  udp,
  type Ipv4Fields,
  type Ipv6Fields,
  type Segment,
  type TcpFields,
} from './builder.js';

export type Family = 4 | 6;
export type Place = 'peer' | 'moved';

export const addresses = {
  4: { peer: '10.3.0.5', old: '10.1.0.7', new: '10.2.0.9', router: '10.9.0.1', stranger: '10.4.0.6' },
  6: { peer: 'fd00:3::5', old: 'fd00:1::7', new: 'fd00:2::9', router: 'fd00:9::1', stranger: 'fd00:4::6' },
} as const;

export const ports = { peer: 40000, server: 6379, peerOnWire: 50001, serverOnWire: 16379 } as const;

/** A rule as the data plane's users give it; `inbound` is for states of the inbound half other than active. */
export interface TestRule extends FlowRule {
  inbound?: FlowState;
}

export interface FlowChoice {
  family?: Family;
  protocol?: Protocol;
  at?: Place;
  portsChanged?: boolean;
  state?: FlowState;
  inbound?: FlowState;
  reroute?: boolean;
  flowId?: bigint;
  /** a second flow beside the first: this much is added to the peer's ports */
  shift?: number;
}

export function flow(choice: FlowChoice = {}): TestRule {
  const family = choice.family ?? 4;
  const shift = choice.shift ?? 0;
  const { peer, old, new: moved } = addresses[family];
  const ends = (server: string, peerPort: number, serverPort: number): FlowTuple => {
    const peerEnd = { address: peer, port: peerPort + shift };
    const serverEnd = { address: server, port: serverPort };
    return choice.at === 'moved'
      ? { local: serverEnd, remote: peerEnd }
      : { local: peerEnd, remote: serverEnd };
  };
  const [wirePeer, wireServer] = choice.portsChanged
    ? [ports.peerOnWire, ports.serverOnWire]
    : [ports.peer, ports.server];
  return {
    flowId: choice.flowId ?? 0x51n,
    migration: 7n,
    protocol: choice.protocol ?? 'tcp',
    identity: ends(old, ports.peer, ports.server),
    wire: ends(moved, wirePeer, wireServer),
    state: choice.state ?? 'active',
    ...(choice.reroute ? { reroute: true } : {}),
    ...(choice.inbound === undefined ? {} : { inbound: choice.inbound }),
  };
}

export function familyOf(end: Endpoint): Family {
  return end.address.includes(':') ? 6 : 4;
}

export type SegmentFields = Omit<TcpFields, 'from' | 'to'>;

export function segment(
  protocol: Protocol,
  from: Endpoint,
  to: Endpoint,
  fields: SegmentFields = {},
): Segment {
  const both = { ...fields, from: from.port, to: to.port };
  return protocol === 'tcp' ? tcp(both) : udp(both);
}

export interface PacketFields extends SegmentFields {
  /** fields of the IP header */
  ip?: Partial<Ipv4Fields> & Partial<Ipv6Fields>;
}

/** An IP packet from one end to the other. */
export function packet(protocol: Protocol, from: Endpoint, to: Endpoint, fields: PacketFields = {}): Buffer {
  return ip(from.address, to.address, segment(protocol, from, to, fields), fields.ip);
}

export function ip(
  from: string,
  to: string,
  inner: Segment,
  fields: Partial<Ipv4Fields> & Partial<Ipv6Fields> = {},
): Buffer {
  return from.includes(':') ? ipv6({ ...fields, from, to }, inner) : ipv4({ ...fields, from, to }, inner);
}

/** What the pod sends on this tuple; what it receives. */
export function sent(rule: TestRule, tuple: FlowTuple, fields: PacketFields = {}): Buffer {
  return packet(rule.protocol, tuple.local, tuple.remote, fields);
}

export function received(rule: TestRule, tuple: FlowTuple, fields: PacketFields = {}): Buffer {
  return packet(rule.protocol, tuple.remote, tuple.local, fields);
}

export type ErrorName = 'port unreachable' | 'packet too big' | 'time exceeded' | 'parameter problem';

const errorTypes: Record<ErrorName, Record<Family, { type: number; code: number; rest: number }>> = {
  'port unreachable': { 4: { type: 3, code: 3, rest: 0 }, 6: { type: 1, code: 4, rest: 0 } },
  'packet too big': { 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, code: 0, rest: 1400 } },
  'time exceeded': { 4: { type: 11, code: 0, rest: 0 }, 6: { type: 3, code: 0, rest: 0 } },
  'parameter problem': { 4: { type: 12, code: 0, rest: 0x14000000 }, 6: { type: 4, code: 0, rest: 40 } },
};

/** The ICMP or ICMPv6 error that `from` tells `to` about a packet. */
export function errorAbout(name: ErrorName, from: string, to: string, quoted: Buffer): Buffer {
  return ip(
    from,
    to,
    icmpFor(from.includes(':') ? 6 : 4, { ...errorTypes[name][from.includes(':') ? 6 : 4], body: quoted }),
  );
}

export function icmpFor(family: Family, fields: Parameters<typeof icmp>[0]): Segment {
  return family === 6 ? icmp6(fields) : icmp(fields);
}
