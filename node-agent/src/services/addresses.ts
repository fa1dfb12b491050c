/** Addresses as text in the one form that equal ones share (RFC 5952; an IPv4-mapped one is IPv4). Plain JavaScript. */
import { addressFamily } from '../signalling/addresses.js';

export { addressFamily };

/** Undefined for what is no address. What is in its canonical form already comes back as it is, at the price of a look. */
export function canonical(text: string): string | undefined {
  if (addressFamily(text) !== 0) return text;
  const words = ipv6Words(text.toLowerCase());
  return words === undefined ? undefined : ipv6Text(words);
}

/** Unspecified, multicast, broadcast, loopback: nobody whom others can reach. Of a canonical address. */
export function isNobody(address: string): boolean {
  if (address.includes(':')) return address === '::' || address === '::1' || address.startsWith('ff');
  const first = Number(address.slice(0, address.indexOf('.')));
  return first === 0 || first === 127 || (first >= 224 && first < 240) || address === '255.255.255.255';
}

function ipv6Words(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [front, back] = [groups(halves[0] ?? ''), groups(halves[1] ?? '')];
  if (front === undefined || back === undefined) return undefined;
  // Only the very last group may be written as IPv4.
  if (halves.length === 2 && halves[0]?.includes('.')) return undefined;
  const gap = 8 - front.length - back.length;
  if (halves.length === 1 ? gap !== 0 : gap < 1) return undefined;
  return [...front, ...new Array<number>(gap).fill(0), ...back];
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const words: number[] = [];
  for (const [at, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/.test(part)) words.push(parseInt(part, 16));
    else if (at === parts.length - 1 && addressFamily(part) === 4) {
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
      words.push(a * 256 + b, c * 256 + d);
    } else return undefined;
  }
  return words;
}

function ipv6Text(words: readonly number[]): string {
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff)
    return words
      .slice(6)
      .flatMap((word) => [word >> 8, word & 0xff])
      .join('.');
  const text = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':');
  let [start, length] = [0, 0];
  for (let from = 0; from < 8; from++) {
    let run = 0;
    while (words[from + run] === 0) run++;
    if (run > length) [start, length] = [from, run];
  }
  return length < 2 ? text(words) : `${text(words.slice(0, start))}::${text(words.slice(start + length))}`;
}
