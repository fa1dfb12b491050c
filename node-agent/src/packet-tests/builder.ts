/**
 * Builds packets as bytes, layer by layer: `frame({ tags }, ipv4({ ... }, tcp({ ... })))`. Every length and checksum is
 * right unless the caller gives another one. Shares no code with the oracle, nor with what it tests.
 */
import { isIPv4 } from 'node:net';

/** A transport segment on its way into an IP packet: the IP layer completes the checksum, which may cover addresses. */
export interface Segment {
  protocol: number;
  bytes: Buffer;
  /** offset of a checksum to complete */
  checksumAt?: number;
  /** does the checksum cover a pseudo header? */
  pseudo?: boolean;
}

export const protocols = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  ah: 51,
  icmp6: 58,
  none: 59,
  gre: 47,
  sctp: 132,
} as const;
export const etherTypes = {
  ipv4: 0x0800,
  ipv6: 0x86dd,
  arp: 0x0806,
  vlan: 0x8100,
  serviceVlan: 0x88a8,
} as const;

const flagBits: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

/** Bytes of a payload whose words are all different, so that a misplaced write shows. */
export function payload(length: number, start = 0): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (start + i * 7 + 1) & 0xff));
}

export function address(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((word) => parseInt(word, 16));
  const front = words(head);
  const back = words(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function onesComplement(...parts: Buffer[]): number {
  let sum = 0n;
  // As one big number modulo 0xffff: the textbook definition, not the usual loop.
  for (const part of parts) {
    const even = part.length % 2 === 0 ? part : Buffer.concat([part, Buffer.alloc(1)]);
    if (even.length > 0) sum += BigInt(`0x${even.toString('hex')}`);
  }
  if (sum === 0n) return 0xffff;
  return 0xffff - (Number(sum % 0xffffn) || 0xffff);
}

export interface TcpFields {
  from: number;
  to: number;
  sequence?: number;
  acknowledgement?: number;
  /** letters of FSRPAUEC; default A, with P where there is a payload */
  flags?: string;
  window?: number;
  options?: Buffer;
  payload?: Buffer;
  checksum?: number;
}

export function tcp(fields: TcpFields): Segment {
  const options = fields.options ?? Buffer.alloc(0);
  const data = fields.payload ?? Buffer.alloc(0);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(fields.from, 0);
  header.writeUInt16BE(fields.to, 2);
  header.writeUInt32BE(fields.sequence ?? 0x1000_0000, 4);
  header.writeUInt32BE(fields.acknowledgement ?? 0x2000_0000, 8);
  header[12] = ((20 + options.length) / 4) << 4;
  header[13] = tcpFlags(fields.flags ?? (data.length > 0 ? 'PA' : 'A'));
  header.writeUInt16BE(fields.window ?? 502, 14);
  const bytes = Buffer.concat([header, options, data]);
  return finished({ protocol: protocols.tcp, bytes, checksumAt: 16, pseudo: true }, fields.checksum);
}

function tcpFlags(letters: string): number {
  return [...letters].reduce((bits, letter) => bits | (flagBits[letter] ?? 0), 0);
}

export interface UdpFields {
  from: number;
  to: number;
  payload?: Buffer;
  /** 0: goes without */
  checksum?: number;
  length?: number;
}

export function udp(fields: UdpFields): Segment {
  const data = fields.payload ?? Buffer.alloc(0);
  const header = Buffer.alloc(8);
  header.writeUInt16BE(fields.from, 0);
  header.writeUInt16BE(fields.to, 2);
  header.writeUInt16BE(fields.length ?? 8 + data.length, 4);
  const bytes = Buffer.concat([header, data]);
  return finished({ protocol: protocols.udp, bytes, checksumAt: 6, pseudo: true }, fields.checksum);
}

/** With a checksum of the caller's, right or wrong, nothing is left to complete. */
function finished(segment: Segment, checksum: number | undefined): Segment {
  if (checksum === undefined) return segment;
  segment.bytes.writeUInt16BE(checksum, segment.checksumAt);
  return { protocol: segment.protocol, bytes: segment.bytes };
}

export interface IcmpFields {
  type: number;
  code?: number;
  /** bytes 4 to 7: next hop MTU, pointer, identifier */
  rest?: number;
  /** the quoted packet, or whatever comes after the header */
  body?: Buffer;
  checksum?: number;
}

export function icmp(fields: IcmpFields): Segment {
  const segment = { protocol: protocols.icmp, bytes: icmpBytes(fields), checksumAt: 2 };
  return finished(segment, fields.checksum);
}

export function icmp6(fields: IcmpFields): Segment {
  const segment = { protocol: protocols.icmp6, bytes: icmpBytes(fields), checksumAt: 2, pseudo: true };
  return finished(segment, fields.checksum);
}

function icmpBytes(fields: IcmpFields): Buffer {
  const header = Buffer.alloc(8);
  header[0] = fields.type;
  header[1] = fields.code ?? 0;
  header.writeUInt32BE(fields.rest ?? 0, 4);
  return Buffer.concat([header, fields.body ?? Buffer.alloc(0)]);
}

/** Any other protocol, or the middle of a fragmented datagram. */
export function raw(protocol: number, bytes: Buffer): Segment {
  return { protocol, bytes };
}

export interface Ipv4Fields {
  from: string;
  to: string;
  id?: number;
  ttl?: number;
  tos?: number;
  dontFragment?: boolean;
  /** padded to whole words with end-of-options */
  options?: Buffer;
  totalLength?: number;
  checksum?: number;
  fragment?: { offset: number; more: boolean };
}

export function ipv4(fields: Ipv4Fields, segment: Segment): Buffer {
  const options = fields.options ?? Buffer.alloc(0);
  const padded = Buffer.concat([options, Buffer.alloc((4 - (options.length % 4)) % 4)]);
  const header = Buffer.alloc(20 + padded.length);
  header[0] = 0x40 | (header.length / 4);
  header[1] = fields.tos ?? 0;
  header.writeUInt16BE(fields.id ?? 0x1234, 4);
  header.writeUInt16BE(fragmentField(fields), 6);
  header[8] = fields.ttl ?? 64;
  header[9] = segment.protocol;
  address(fields.from).copy(header, 12);
  address(fields.to).copy(header, 16);
  padded.copy(header, 20);
  const body = completed(segment, fields.from, fields.to);
  header.writeUInt16BE(fields.totalLength ?? header.length + body.length, 2);
  header.writeUInt16BE(fields.checksum ?? onesComplement(header), 10);
  return Buffer.concat([header, body]);
}

function fragmentField(fields: Ipv4Fields): number {
  if (fields.fragment === undefined) return (fields.dontFragment ?? true) ? 0x4000 : 0;
  return (fields.fragment.more ? 0x2000 : 0) | (fields.fragment.offset / 8);
}

/** An extension header: its number and its bytes, the first of which the builder sets to the next header's number. */
export interface Extension {
  number: number;
  bytes: Buffer;
}

export function hopByHop(length = 8): Extension {
  return optionsHeader(0, length);
}

export function destinationOptions(length = 8): Extension {
  return optionsHeader(60, length);
}

/** Filled with one PadN option, as hosts do. */
function optionsHeader(number: number, length: number): Extension {
  const bytes = Buffer.alloc(length);
  bytes[1] = length / 8 - 1;
  bytes[2] = 1;
  bytes[3] = length - 4;
  return { number, bytes };
}

export function routingHeader(segmentsLeft: number): Extension {
  const bytes = Buffer.alloc(24);
  bytes.set([0, 2, 2, segmentsLeft]);
  address('fd00:8::8').copy(bytes, 8);
  return { number: 43, bytes };
}

export function fragmentHeader(id: number, offset: number, more: boolean): Extension {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16BE(offset | (more ? 1 : 0), 2);
  bytes.writeUInt32BE(id, 4);
  return { number: 44, bytes };
}

/** An authentication header of 24 bytes; on IPv4 it is the first thing of the payload. */
export function authentication(): Extension {
  const bytes = payload(24, 0x40);
  bytes.set([0, 4, 0, 0]);
  return { number: protocols.ah, bytes };
}

export interface Ipv6Fields {
  from: string;
  to: string;
  hopLimit?: number;
  trafficClass?: number;
  flowLabel?: number;
  extensions?: readonly Extension[];
  payloadLength?: number;
}

export function ipv6(fields: Ipv6Fields, segment: Segment): Buffer {
  const extensions = fields.extensions ?? [];
  const chain = extensions.map(({ bytes }, i) => {
    const copy = Buffer.from(bytes);
    copy[0] = extensions[i + 1]?.number ?? segment.protocol;
    return copy;
  });
  const body = Buffer.concat([...chain, completed(segment, fields.from, fields.to)]);
  const header = Buffer.alloc(40);
  header.writeUInt32BE(
    ((6 << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0x12345)) >>> 0,
    0,
  );
  header.writeUInt16BE(fields.payloadLength ?? body.length, 4);
  header[6] = extensions[0]?.number ?? segment.protocol;
  header[7] = fields.hopLimit ?? 64;
  address(fields.from).copy(header, 8);
  address(fields.to).copy(header, 24);
  return Buffer.concat([header, body]);
}

/** The IPv4 packet with an authentication header between IP and transport. */
export function authenticatedIpv4(fields: Ipv4Fields, segment: Segment): Buffer {
  const header = Buffer.from(authentication().bytes);
  header[0] = segment.protocol;
  return ipv4(fields, raw(protocols.ah, Buffer.concat([header, completed(segment, fields.from, fields.to)])));
}

function completed(segment: Segment, from: string, to: string): Buffer {
  if (segment.checksumAt === undefined) return segment.bytes;
  const bytes = Buffer.from(segment.bytes);
  bytes.writeUInt16BE(0, segment.checksumAt);
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(bytes.length, 0);
  tail[7] = segment.protocol;
  const covered = segment.pseudo ? [address(from), address(to), tail, bytes] : [bytes];
  const checksum = onesComplement(...covered);
  bytes.writeUInt16BE(
    checksum === 0 && segment.protocol === protocols.udp ? 0xffff : checksum,
    segment.checksumAt,
  );
  return bytes;
}

/** A datagram in pieces whose payloads are `size` bytes long (a multiple of 8), the last as long as is left. */
export function ipv4Fragments(fields: Ipv4Fields, segment: Segment, size: number): Buffer[] {
  const whole = completed(segment, fields.from, fields.to);
  return slices(whole, size).map(({ offset, bytes, more }) =>
    ipv4({ ...fields, fragment: { offset, more } }, raw(segment.protocol, bytes)),
  );
}

/** The same over IPv6; `after` are extension headers in the fragmented part. */
export function ipv6Fragments(
  fields: Ipv6Fields & { id: number; after?: readonly Extension[] },
  segment: Segment,
  size: number,
): Buffer[] {
  const whole = ipv6({ ...fields, extensions: fields.after ?? [] }, segment);
  const next = whole[6] as number;
  return slices(whole.subarray(40), size).map(({ offset, bytes, more }) =>
    ipv6(
      { ...fields, extensions: [...(fields.extensions ?? []), fragmentHeader(fields.id, offset, more)] },
      raw(next, bytes),
    ),
  );
}

function slices(whole: Buffer, size: number): Array<{ offset: number; bytes: Buffer; more: boolean }> {
  const result = [];
  for (let offset = 0; offset < whole.length; offset += size)
    result.push({ offset, bytes: whole.subarray(offset, offset + size), more: offset + size < whole.length });
  return result;
}

export interface FrameFields {
  /** outermost first, e.g. [{ type: etherTypes.serviceVlan, id: 100 }] */
  tags?: ReadonlyArray<{ type?: number; id: number }>;
  /** default: by the packet's version */
  type?: number;
  /** pad with these bytes' repetition up to this length, as short Ethernet frames are */
  padTo?: number;
}

export function frame(fields: FrameFields, packet: Buffer): Buffer {
  const tags = fields.tags ?? [];
  const type = fields.type ?? ((packet[0] as number) >> 4 === 6 ? etherTypes.ipv6 : etherTypes.ipv4);
  const header = Buffer.alloc(14 + 4 * tags.length);
  header.set([0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02]);
  tags.forEach((tag, i) => {
    header.writeUInt16BE(tag.type ?? etherTypes.vlan, 12 + 4 * i);
    header.writeUInt16BE(tag.id, 14 + 4 * i);
  });
  header.writeUInt16BE(type, 12 + 4 * tags.length);
  const whole = Buffer.concat([header, packet]);
  return Buffer.concat([whole, Buffer.alloc(Math.max(0, (fields.padTo ?? 0) - whole.length), 0xa5)]);
}

/** Who has `wanted`, tell `own`. */
export function arpRequest(own: string, wanted: string): Buffer {
  const body = Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4, 0, 1, 0x02, 0, 0, 0, 0, 0x02]),
    address(own),
    Buffer.alloc(6),
    address(wanted),
  ]);
  return frame({ type: etherTypes.arp, padTo: 60 }, body);
}

/** Neighbour solicitation (135) or advertisement (136) and their kin. */
export function neighbourDiscovery(from: string, to: string, type = 135): Buffer {
  return ipv6({ from, to, hopLimit: 255 }, icmp6({ type, body: address(to) }));
}
