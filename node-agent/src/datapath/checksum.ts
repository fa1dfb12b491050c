/** Internet checksum arithmetic (RFC 1071, RFC 1624), on words as a little-endian machine loads them. Pure. */

/** Ones' complement difference (new - old) over 32-bit words, folded to 32 bits; 0 where nothing changes. */
export function wordsDiff(from: ArrayLike<number>, to: ArrayLike<number>): number {
  let sum = 0;
  let same = true;
  for (let i = 0; i < from.length; i++) {
    const before = from[i] as number;
    const after = to[i] as number;
    same &&= before === after;
    sum += after + (~before >>> 0);
  }
  if (same) return 0;
  // At most nine words: far below 2^53, so the carries can be folded at the end.
  while (sum > 0xffffffff) sum = (sum % 0x100000000) + Math.floor(sum / 0x100000000);
  return sum;
}

/** The ones' complement sum of the bytes, as 16-bit words in network order, not complemented. */
export function sum16(bytes: Buffer, start = 0): number {
  let sum = start;
  const even = bytes.length & ~1;
  for (let i = 0; i < even; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  if (even !== bytes.length) sum += (bytes[even] as number) << 8;
  return fold16(sum);
}

export function fold16(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}
