/**
 * Tells whether a text is an address in the one form that equal addresses share (RFC 5952; an IPv4-mapped one is written
 * as IPv4). A list may have hundreds of thousands, so this works without intermediate texts. Pure.
 */
const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const longest = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'.length;

/** 4 or 6 for an address in canonical form, 0 for anything else. */
export function addressFamily(value: unknown): 0 | 4 | 6 {
  if (typeof value !== 'string' || value.length > longest) return 0;
  if (ipv4.test(value)) return 4;
  return isCanonicalIpv6(value) ? 6 : 0;
}

const colon = 0x3a;
const words = new Uint16Array(8);

/** Value of a lower-case hexadecimal digit, or -1. */
function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x61 + 10 : -1;
}

/** Reads the group that begins at `at`, without leading zeros: its value times 8, plus its length; or -1. */
function group(text: string, at: number): number {
  let value = 0;
  let length = 0;
  for (; length < 4; length++) {
    const next = digit(text.charCodeAt(at + length));
    if (next === -1) break;
    if (length === 1 && value === 0) return -1;
    value = value * 16 + next;
  }
  return length === 0 ? -1 : value * 8 + length;
}

function isCanonicalIpv6(text: string): boolean {
  const parsed = parse(text);
  if (parsed === undefined) return false;
  const { gap, length } = parsed;
  const run = longestZeros();
  if (gap === -1 ? run.length > 1 : run.start !== gap || run.length !== length || length < 2) return false;
  const mapped = run.start === 0 && run.length === 5 && words[5] === 0xffff;
  return !mapped;
}

/** Fills `words`; the gap is where "::" stands, -1 without one. */
function parse(text: string): { gap: number; length: number } | undefined {
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const read = count < 8 ? group(text, at) : -1;
    if (read === -1) return undefined;
    words[count++] = read >> 3;
    at += read & 7;
    if (at === text.length) break;
    if (text.charCodeAt(at++) !== colon) return undefined;
    if (text.charCodeAt(at) === colon) {
      if (gap !== -1) return undefined;
      gap = count;
      at++;
    } else if (at === text.length) return undefined;
  }
  return spread(count, gap);
}

/** Moves the groups behind the gap to the end, with zeros between. */
function spread(count: number, gap: number): { gap: number; length: number } | undefined {
  const length = 8 - count;
  if (gap === -1) return length === 0 ? { gap, length } : undefined;
  words.copyWithin(gap + length, gap, count);
  words.fill(0, gap, gap + length);
  return { gap, length };
}

/** First of the longest runs of zeros in `words`. */
function longestZeros(): { start: number; length: number } {
  const best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > best.length) {
      best.start = start;
      best.length = length;
    }
    start += length;
  }
  return best;
}
