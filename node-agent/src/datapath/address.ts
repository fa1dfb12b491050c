/** Addresses as the tables hold them: 16 bytes in network order, IPv4 mapped into IPv6. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { ServalError } from '@serval/api';

/** Four words as a little-endian machine loads them from the 16 bytes. */
export type AddressWords = readonly [number, number, number, number];

const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex');
/** Third word of a mapped address. */
const mappedWord = 0xffff0000;

/** Text to 16 bytes. @throws ServalError ERR_BAD_INPUT */
export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.concat([mappedPrefix, ipv4Bytes(text)]);
  if (!isIPv6(text) || text.includes('%'))
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `address "${text}"`,
      reason: 'it is neither an IPv4 nor an IPv6 address',
      remedy: 'Write it as 192.0.2.1 or 2001:db8::1, without a scope',
    });
  return ipv6Bytes(text);
}

function ipv4Bytes(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

function ipv6Bytes(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const front = groups(head);
  const back = tail === undefined ? Buffer.alloc(0) : groups(tail);
  return Buffer.concat([front, Buffer.alloc(16 - front.length - back.length), back]);
}

function groups(text: string): Buffer {
  if (text === '') return Buffer.alloc(0);
  return Buffer.concat(
    text.split(':').map((group) => {
      if (group.includes('.')) return ipv4Bytes(group);
      const value = parseInt(group, 16);
      return Buffer.from([value >> 8, value & 0xff]);
    }),
  );
}

/** 16 bytes to text: IPv4 where mapped, else IPv6 with its longest run of zeros shortened (RFC 5952). */
export function addressText(bytes: Buffer): string {
  if (isMapped(bytes)) return bytes.subarray(12).join('.');
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2));
  const run = longestZeros(words);
  const text = (part: number[]): string => part.map((word) => word.toString(16)).join(':');
  if (run.length < 2) return text(words);
  return `${text(words.slice(0, run.start))}::${text(words.slice(run.start + run.length))}`;
}

function longestZeros(words: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < words.length; start++) {
    let length = 0;
    while (words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/** True for ::ffff:a.b.c.d, that is for IPv4. */
export function isMapped(bytes: Buffer): boolean {
  return bytes.subarray(0, 12).equals(mappedPrefix);
}

/** Multicast, broadcast, unspecified: no end of a flow between two. */
export function isGroupOrNobody(bytes: Buffer): boolean {
  if (isMapped(bytes)) {
    const ipv4 = bytes.readUInt32BE(12);
    return ipv4 >>> 28 === 0xe || ipv4 === 0xffffffff || ipv4 === 0;
  }
  return bytes[0] === 0xff || bytes.every((byte) => byte === 0);
}

/** The text form that equal addresses share. */
export function canonicalAddress(text: string): string {
  return addressText(addressBytes(text));
}

export function addressWords(bytes: Buffer): AddressWords {
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
}

export function isMappedWords(words: AddressWords): boolean {
  return words[2] === mappedWord && words[0] === 0 && words[1] === 0;
}
