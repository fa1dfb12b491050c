import { formatAddress4, formatAddress6 } from './ip-address.js';

export type ProtocolName = 'tcp' | 'udp' | 'icmp' | 'icmp6' | 'igmp' | 'arp' | 'other';

/** What the headers of one frame say. A field is absent when the frame has no such header, or it was cut off. */
export interface Packet {
  /** bytes of the frame on the wire */
  length: number;
  /** of the outermost payload, after VLAN tags */
  etherType: number;
  /** VLAN ids, outermost first */
  vlans: number[];
  /** canonical text; of ARP the sender's and target's protocol addresses */
  source?: string;
  destination?: string;
  /** the protocol number in the outer IP header (of IPv6 after the extension headers) */
  protocolNumber?: number;
  protocol: ProtocolName;
  /** types of IPv6 extension headers, in their order */
  extensionHeaders: number[];
  /** IPv4 options other than router alert and padding, and IPv6 options likewise: their type bytes */
  options: number[];
  /** bytes from the start of the packet; 0 for whole packets and first fragments */
  fragmentOffset: number;
  sourcePort?: number;
  destinationPort?: number;
  tcpFlags?: number;
  seq?: number;
  ack?: number;
  icmpType?: number;
  icmpCode?: number;
  /** bytes after the TCP or UDP header */
  payloadLength?: number;
  /** why the rest could not be read */
  problem?: string;
}

export const etherTypes = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
export const tcpFlag = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20 } as const;

const vlanTypes = [0x8100, 0x88a8, 0x9100];
const protocolNames: Readonly<Record<number, ProtocolName>> = {
  1: 'icmp',
  2: 'igmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmp6',
};
const extension = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  authentication: 51,
  destination: 60,
  mobility: 135,
} as const;
const extensionTypes: readonly number[] = [...Object.values(extension), 139, 140];
const padding4 = { end: 0, noOperation: 1, routerAlert: 0x94 };
const pad1 = 0;
const harmless6 = [pad1, 1 /* padN */, 5 /* router alert */];

/** The captured bytes end within a header. */
class CutShort extends Error {}

/** Reads an Ethernet frame of which `data` was captured and `length` bytes were on the wire. Never throws. */
export function parseFrame(data: Buffer, length = data.length): Packet {
  const packet: Packet = {
    length,
    etherType: 0,
    vlans: [],
    protocol: 'other',
    extensionHeaders: [],
    options: [],
    fragmentOffset: 0,
  };
  try {
    parseEthernet(data, packet);
  } catch (error) {
    if (!(error instanceof CutShort)) throw error;
    packet.problem = 'the captured bytes end within a header';
  }
  return packet;
}

function parseEthernet(data: Buffer, packet: Packet): void {
  let offset = 12;
  requireBytes(data, offset + 2);
  packet.etherType = data.readUInt16BE(offset);
  while (vlanTypes.includes(packet.etherType)) {
    requireBytes(data, offset + 6);
    packet.vlans.push(data.readUInt16BE(offset + 2) & 0x0fff);
    offset += 4;
    packet.etherType = data.readUInt16BE(offset);
  }
  offset += 2;
  if (packet.etherType === etherTypes.ipv4) parseIpv4(data.subarray(offset), packet);
  else if (packet.etherType === etherTypes.ipv6) parseIpv6(data.subarray(offset), packet);
  else if (packet.etherType === etherTypes.arp) parseArp(data.subarray(offset), packet);
}

function parseArp(data: Buffer, packet: Packet): void {
  packet.protocol = 'arp';
  requireBytes(data, 28);
  packet.source = formatAddress4(data, 14);
  packet.destination = formatAddress4(data, 24);
}

function parseIpv4(data: Buffer, packet: Packet): void {
  requireBytes(data, 20);
  const headerLength = (data.readUInt8(0) & 0x0f) * 4;
  if (data.readUInt8(0) >> 4 !== 4 || headerLength < 20) {
    packet.problem = 'the IPv4 header is malformed';
    return;
  }
  packet.source = formatAddress4(data, 12);
  packet.destination = formatAddress4(data, 16);
  packet.fragmentOffset = (data.readUInt16BE(6) & 0x1fff) * 8;
  requireBytes(data, headerLength);
  packet.options = options4(data.subarray(20, headerLength));
  const total = data.readUInt16BE(2) || packet.length - 14; // 0: offloaded, larger than the field can say
  parseTransport(data.readUInt8(9), data.subarray(headerLength), total - headerLength, packet);
}

function options4(data: Buffer): number[] {
  const types: number[] = [];
  for (let offset = 0; offset < data.length;) {
    const type = data.readUInt8(offset);
    if (type === padding4.end) break;
    if (type !== padding4.noOperation && type !== padding4.routerAlert) types.push(type);
    offset += type === padding4.noOperation ? 1 : Math.max(2, data[offset + 1] ?? 2);
  }
  return types;
}

function parseIpv6(data: Buffer, packet: Packet): void {
  requireBytes(data, 40);
  if (data.readUInt8(0) >> 4 !== 6) {
    packet.problem = 'the IPv6 header is malformed';
    return;
  }
  packet.source = formatAddress6(data, 8);
  packet.destination = formatAddress6(data, 24);
  let next = data.readUInt8(6);
  let offset = 40;
  while (extensionTypes.includes(next)) {
    packet.extensionHeaders.push(next);
    const size = parseExtension(next, data.subarray(offset), packet);
    next = data.readUInt8(offset);
    offset += size;
  }
  const payload = data.readUInt16BE(4) || packet.length - 14 - 40; // 0: offloaded, as above
  parseTransport(next, data.subarray(offset), payload - (offset - 40), packet);
}

/** Size of an IPv6 extension header, in bytes. */
function parseExtension(type: number, data: Buffer, packet: Packet): number {
  requireBytes(data, 8);
  if (type === extension.fragment) {
    packet.fragmentOffset = data.readUInt16BE(2) & 0xfff8;
    return 8;
  }
  if (type === extension.authentication) return (data.readUInt8(1) + 2) * 4;
  const size = (data.readUInt8(1) + 1) * 8;
  requireBytes(data, size);
  if (type === extension.hopByHop || type === extension.destination) {
    packet.options.push(...options6(data.subarray(2, size)));
  }
  return size;
}

function options6(data: Buffer): number[] {
  const types: number[] = [];
  for (let offset = 0; offset < data.length;) {
    const type = data.readUInt8(offset);
    if (!harmless6.includes(type)) types.push(type);
    offset += type === pad1 ? 1 : 2 + (data[offset + 1] ?? 0);
  }
  return types;
}

function parseTransport(protocol: number, data: Buffer, length: number, packet: Packet): void {
  packet.protocolNumber = protocol;
  packet.protocol = protocolNames[protocol] ?? 'other';
  if (packet.fragmentOffset > 0) return;
  if (packet.protocol === 'tcp') parseTcp(data, length, packet);
  else if (packet.protocol === 'udp') parseUdp(data, length, packet);
  else if (packet.protocol === 'icmp' || packet.protocol === 'icmp6') {
    requireBytes(data, 2);
    packet.icmpType = data.readUInt8(0);
    packet.icmpCode = data.readUInt8(1);
  }
}

function parseTcp(data: Buffer, length: number, packet: Packet): void {
  requireBytes(data, 14);
  parsePorts(data, packet);
  packet.seq = data.readUInt32BE(4);
  packet.ack = data.readUInt32BE(8);
  packet.payloadLength = length - (data.readUInt8(12) >> 4) * 4;
  packet.tcpFlags = data.readUInt8(13);
}

function parseUdp(data: Buffer, length: number, packet: Packet): void {
  parsePorts(data, packet);
  packet.payloadLength = length - 8;
}

function parsePorts(data: Buffer, packet: Packet): void {
  requireBytes(data, 4);
  packet.sourcePort = data.readUInt16BE(0);
  packet.destinationPort = data.readUInt16BE(2);
}

function requireBytes(data: Buffer, count: number): void {
  if (data.length < count) throw new CutShort();
}
