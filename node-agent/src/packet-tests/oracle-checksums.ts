/** The oracle's checksums: always summed up from scratch over the bytes in question (RFC 1071). */
import { networkLayer, parseFrame, parseIpv4, parseIpv6, type Headers } from './oracle-headers.js';

/** Sum of 16-bit words modulo 0xffff, where 0 and 0xffff are the same; an odd last byte counts as the upper half. */
export function residue(bytes: Buffer, from: number, to: number): number {
  let sum = 0;
  let at = from;
  for (; at + 1 < to; at += 2) sum += ((bytes[at] as number) << 8) + (bytes[at + 1] as number);
  if (at < to) sum += (bytes[at] as number) << 8;
  return sum % 0xffff;
}

/** What a checksum in the transport header covers of the IP header; 0 for ICMP over IPv4. */
export function pseudoResidue(bytes: Buffer, headers: Headers): number {
  if (headers.version === 4 && headers.protocol === 1) return 0;
  const length = headers.end - headers.l4;
  const addresses = residue(bytes, headers.sourceAt, headers.destinationAt + headers.addressLength);
  return (addresses + headers.protocol + (length >> 16) + (length & 0xffff)) % 0xffff;
}

/** Offset of the checksum field behind the start of the transport header; undefined where we know none. */
export function checksumOffset(headers: Headers): number | undefined {
  if (headers.protocol === 6) return 16;
  if (headers.protocol === 17) return 6;
  return headers.protocol === (headers.version === 4 ? 1 : 58) ? 2 : undefined;
}

/** Every checksum of the frame that is wrong, by name; those that can't be checked (cut off, in pieces) are passed over. */
export function wrongChecksums(frame: Buffer): string[] {
  const headers = parseFrame(frame);
  return headers === undefined ? [] : wrongInPacket(frame, headers);
}

/** The same for a packet without an Ethernet header. */
export function wrongInIpPacket(packet: Buffer): string[] {
  const type = (packet[0] as number) >> 4 === 6 ? [0x86, 0xdd] : [8, 0];
  return wrongChecksums(Buffer.concat([Buffer.alloc(12), Buffer.from(type), packet]));
}

function wrongInPacket(frame: Buffer, headers: Headers): string[] {
  const wrong: string[] = [];
  if (headers.version === 4 && headers.l3 + 20 <= frame.length && !headerRight(frame, headers))
    wrong.push('IPv4 header');
  if (headers.broken || headers.fragment !== 'whole' || !complete(frame, headers)) return wrong;
  const offset = checksumOffset(headers);
  if (offset === undefined || headers.l4 + offset + 2 > headers.end) return wrong;
  if (!transportRight(frame, headers, headers.l4 + offset)) wrong.push(`protocol ${headers.protocol}`);
  if (isError(frame, headers)) wrong.push(...wrongInQuote(frame, headers));
  return wrong;
}

function headerRight(frame: Buffer, headers: Headers): boolean {
  const length = ((frame[headers.l3] as number) & 15) * 4;
  return headers.l3 + length > frame.length || residue(frame, headers.l3, headers.l3 + length) === 0;
}

/** Is the whole packet here, as long as its header says? */
function complete(frame: Buffer, headers: Headers): boolean {
  const said =
    frame.readUInt16BE(headers.l3 + (headers.version === 4 ? 2 : 4)) + (headers.version === 4 ? 0 : 40);
  return headers.l3 + said <= frame.length && headers.l4 <= headers.end;
}

function transportRight(frame: Buffer, headers: Headers, at: number): boolean {
  // A datagram may go without.
  if (headers.protocol === 17 && frame.readUInt16BE(at) === 0) return true;
  return (residue(frame, headers.l4, headers.end) + pseudoResidue(frame, headers)) % 0xffff === 0;
}

export function isError(frame: Buffer, headers: Headers): boolean {
  if (headers.l4 >= frame.length) return false;
  const type = frame[headers.l4] as number;
  if (headers.version === 4) return headers.protocol === 1 && [3, 11, 12].includes(type);
  return headers.protocol === 58 && type >= 1 && type <= 4;
}

function wrongInQuote(frame: Buffer, outer: Headers): string[] {
  const within = frame.subarray(0, outer.end);
  const quoted = outer.version === 4 ? parseIpv4(within, outer.l4 + 8) : parseIpv6(within, outer.l4 + 8);
  return quoted === undefined ? [] : wrongInPacket(within, quoted).map((name) => `quoted ${name}`);
}

/** For messages: the layers by offset. */
export function describeFrame(frame: Buffer): string {
  const layer = networkLayer(frame);
  const headers = parseFrame(frame);
  const at =
    headers === undefined
      ? ''
      : ` IPv${headers.version} at ${headers.l3}, protocol ${headers.protocol} at ${headers.l4}`;
  return `${frame.length} bytes, type 0x${(layer?.type ?? 0).toString(16)}${at}: ${frame.toString('hex')}`;
}
