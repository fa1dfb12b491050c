/** Ports that a network namespace's kernel does not choose by itself: net.ipv4.ip_local_reserved_ports, for both families. */
import { native } from '../native.js';

const file = 'net/ipv4/ip_local_reserved_ports';
/** The kernel takes at most a page in one write. */
const pieceBytes = 4000;

/** @throws NativeError where the namespace is gone */
export async function readReservedPorts(netns: string): Promise<Set<number>> {
  return parseRanges(await native().sysctl(netns, file));
}

/** These and no others. @throws NativeError where the namespace is gone */
export async function writeReservedPorts(netns: string, ports: Iterable<number>): Promise<void> {
  await native().sysctl(netns, file, pieces(formatRanges(ports)));
}

/** Pure: `22,8000-8002`, as the kernel writes it. */
export function parseRanges(text: string): Set<number> {
  const ports = new Set<number>();
  for (const range of text.trim().split(',').filter(Boolean)) {
    const [first = 0, last = first] = range.split('-').map(Number);
    for (let port = first; port <= last; port++) ports.add(port);
  }
  return ports;
}

/** Pure: ranges in their order. */
export function formatRanges(ports: Iterable<number>): string[] {
  const sorted = [...new Set(ports)].sort((a, b) => a - b);
  const ranges: Array<[number, number]> = [];
  for (const port of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === port - 1) last[1] = port;
    else ranges.push([port, port]);
  }
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`));
}

/** Pure: ranges put together to what one write takes. An empty line clears the list. */
export function pieces(ranges: readonly string[]): string[] {
  const result = [''];
  for (const range of ranges) {
    const last = result.at(-1) as string;
    if (last.length + range.length + 1 <= pieceBytes)
      result[result.length - 1] = last === '' ? range : `${last},${range}`;
    else result.push(range);
  }
  return result.map((piece) => `${piece}\n`);
}
