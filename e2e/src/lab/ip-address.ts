import { SocketAddress, isIPv4, isIPv6 } from 'node:net';
import { ServalError } from '@serval/api';

/** Dotted text of the 4 bytes at `offset`. */
export function formatAddress4(bytes: Uint8Array, offset = 0): string {
  return bytes.subarray(offset, offset + 4).join('.');
}

/** Text of the 16 bytes at `offset` in the one form that RFC 5952 allows: `fd00:1:2::3`. */
export function formatAddress6(bytes: Uint8Array, offset = 0): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 16);
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2));
  const zeros = longestZeroRun(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  }
  return best;
}

/**
 * The one spelling of an address that this room compares by.
 * @throws ServalError ERR_BAD_INPUT when the text is no IPv4 or IPv6 address
 */
export function canonicalAddress(text: string): string {
  if (isIPv4(text)) return text;
  if (isIPv6(text)) return new SocketAddress({ address: text, family: 'ipv6' }).address;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `address "${text}"`,
    reason: 'this is neither an IPv4 nor an IPv6 address',
    remedy: 'Give it like 10.1.2.3 or fd00:1:2::3',
  });
}
