/**
 * Rules in a circle. A test run repeats with the same packet, and a translation changes it: so rule i turns tuple i into
 * tuple i + 1, the last one back into the first, and every repeat is a hit on the next key. Addresses change as well as
 * ports, which is the dearest translation there is.
 */
import type { FlowRule, FlowTuple, Protocol } from '@serval/node-agent';

export type Column = 'ipv4Tcp' | 'ipv6Tcp' | 'ipv4Udp';
export const columns: readonly Column[] = ['ipv4Tcp', 'ipv6Tcp', 'ipv4Udp'];

export function protocolOf(column: Column): Protocol {
  return column === 'ipv4Udp' ? 'udp' : 'tcp';
}

const addresses = {
  4: { local: '10.9.1.2', remotes: ['10.1.1.2', '10.2.1.2'] },
  6: { local: 'fd00:9::1:2', remotes: ['fd00:1::1:2', 'fd00:2::1:2'] },
} as const;
const portsEach = 60_000;

/** The tuple of this number. The remote address alternates; the ports tell them all apart. */
export function cycleTuple(column: Column, number: number): FlowTuple {
  const { local, remotes } = addresses[column === 'ipv6Tcp' ? 6 : 4];
  return {
    local: { address: local, port: 2000 + (number % portsEach) },
    remote: { address: remotes[number % 2] as string, port: 6379 + Math.floor(number / portsEach) },
  };
}

/** Never a key of a cycle: below all of its local ports. */
export function unknownTuple(column: Column, number: number): FlowTuple {
  const tuple = cycleTuple(column, number % 2);
  return { ...tuple, local: { ...tuple.local, port: 1000 + (number % 1000) } };
}

/** Rules that turn tuple `from` into the next and so on, `count` of them, the last one into `from` again. */
export function circle(column: Column, from: number, count: number): FlowRule[] {
  return Array.from({ length: count }, (_, i) => ({
    flowId: BigInt(from + i + 1),
    migration: 1n,
    protocol: protocolOf(column),
    identity: cycleTuple(column, from + i),
    wire: cycleTuple(column, from + ((i + 1) % count)),
    state: 'active',
  }));
}

/** In another order each time, so that neighbours in the circle aren't neighbours in memory (Fisher and Yates). */
export function shuffled<Item>(items: readonly Item[], random: () => number = Math.random): Item[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [result[i], result[other]] = [result[other] as Item, result[i] as Item];
  }
  return result;
}
