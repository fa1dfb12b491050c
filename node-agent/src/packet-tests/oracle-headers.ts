/**
 * The oracle's reading of a packet: where its headers lie, by the RFCs. Written to be obviously right rather than
 * fast to the last nanosecond; shares no code with the builder or with the data plane.
 */
import { salReason } from '../datapath/abi.generated.js';

export interface Headers {
  version: 4 | 6;
  /** offset of the IP header; of the first byte behind it and its extensions */
  l3: number;
  l4: number;
  /** where the packet ends by its own word, at most the frame's end */
  end: number;
  /** of the last header in the chain */
  protocol: number;
  sourceAt: number;
  destinationAt: number;
  addressLength: 4 | 16;
  fragment: 'whole' | 'first' | 'later';
  /** what reassembly goes by besides the addresses: identification, and IPv4's protocol field */
  fragmentName: string;
  /** reasons why a packet like this can't be translated, should it belong to a flow */
  obstacles: number[];
  /** the chain of extension headers can't be followed to its end: nothing behind it can be read */
  broken: boolean;
}

const extensionNumbers = new Set([0, 43, 44, 51, 60, 135]);
export const extensionsFollowed = 8;

/** Offset and protocol of what the frame carries; undefined for more tags than two, or none that end. */
export function networkLayer(frame: Buffer): { at: number; type: number } | undefined {
  let at = 12;
  for (let tags = 0; tags <= 2; tags++) {
    if (at + 2 > frame.length) return undefined;
    const type = frame.readUInt16BE(at);
    if (type !== 0x8100 && type !== 0x88a8) return { at: at + 2, type };
    at += 4;
  }
  return undefined;
}

export function parseFrame(frame: Buffer): Headers | undefined {
  const layer = networkLayer(frame);
  if (layer?.type === 0x0800) return parseIpv4(frame, layer.at);
  if (layer?.type === 0x86dd) return parseIpv6(frame, layer.at);
  return undefined;
}

export function parseIpv4(frame: Buffer, l3: number): Headers | undefined {
  if (l3 + 20 > frame.length) return undefined;
  const first = frame[l3] as number;
  const headerLength = (first & 15) * 4;
  if (first >> 4 !== 4 || headerLength < 20) return undefined;
  const totalLength = frame.readUInt16BE(l3 + 2);
  const fragmentField = frame.readUInt16BE(l3 + 6);
  const protocol = frame[l3 + 9] as number;
  const headers: Headers = {
    version: 4,
    l3,
    l4: l3 + headerLength,
    end: totalLength === 0 ? frame.length : Math.min(frame.length, l3 + totalLength),
    protocol,
    sourceAt: l3 + 12,
    destinationAt: l3 + 16,
    addressLength: 4,
    fragment: (fragmentField & 0x1fff) !== 0 ? 'later' : (fragmentField & 0x2000) !== 0 ? 'first' : 'whole',
    fragmentName: `${protocol}/${frame.readUInt16BE(l3 + 4)}`,
    obstacles: [],
    broken: false,
  };
  if (sourceRouteAhead(frame, l3 + 20, headers.l4)) headers.obstacles.push(salReason.SOURCE_ROUTED);
  if (protocol === 51 && headers.fragment !== 'later') followExtensions(frame, headers, 51);
  return headers;
}

/** Does a loose or strict source route have hops left? What is cut off, by its header or by the frame, counts as such. */
function sourceRouteAhead(frame: Buffer, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    if (at + 3 > frame.length) return true;
    const type = frame[at] as number;
    if (type === 0) return false;
    if (type === 1) {
      at++;
      continue;
    }
    const length = frame[at + 1] as number;
    if (type === 131 || type === 137) return at + 3 > to || (frame[at + 2] as number) <= length;
    if (length < 2) return false;
    at += length;
  }
  return false;
}

export function parseIpv6(frame: Buffer, l3: number): Headers | undefined {
  if (l3 + 40 > frame.length || (frame[l3] as number) >> 4 !== 6) return undefined;
  const payloadLength = frame.readUInt16BE(l3 + 4);
  const headers: Headers = {
    version: 6,
    l3,
    l4: l3 + 40,
    end: payloadLength === 0 ? frame.length : Math.min(frame.length, l3 + 40 + payloadLength),
    protocol: 0,
    sourceAt: l3 + 8,
    destinationAt: l3 + 24,
    addressLength: 16,
    fragment: 'whole',
    fragmentName: '',
    obstacles: [],
    broken: false,
  };
  followExtensions(frame, headers, frame[l3 + 6] as number);
  return headers;
}

/** RFC 8200: hop-by-hop, routing, fragment, destination options, mobility; RFC 4302: authentication. */
function followExtensions(frame: Buffer, headers: Headers, first: number): void {
  let next = first;
  for (let count = 0; extensionNumbers.has(next); count++) {
    const at = headers.l4;
    if (count === extensionsFollowed || at + 8 > frame.length) {
      headers.broken = true;
      headers.obstacles = [count === extensionsFollowed ? salReason.HEADER_CHAIN : salReason.TRUNCATED];
      return;
    }
    const number = next;
    next = frame[at] as number;
    headers.l4 += extensionLength(number, frame[at + 1] as number);
    if (number === 43 && (frame[at + 3] as number) > 0) headers.obstacles.push(salReason.SOURCE_ROUTED);
    if (number === 51) headers.obstacles.push(salReason.AUTHENTICATED);
    if (number === 44) noteFragment(frame, at, headers);
    // What follows is the middle of a datagram, not a header.
    if (headers.fragment === 'later') break;
  }
  headers.protocol = next;
}

function extensionLength(number: number, field: number): number {
  if (number === 44) return 8;
  return number === 51 ? (field + 2) * 4 : (field + 1) * 8;
}

function noteFragment(frame: Buffer, at: number, headers: Headers): void {
  const field = frame.readUInt16BE(at + 2);
  if (field >> 3 !== 0) headers.fragment = 'later';
  else if ((field & 1) !== 0) headers.fragment = 'first';
  headers.fragmentName = `6/${frame.readUInt32BE(at + 4)}`;
}
