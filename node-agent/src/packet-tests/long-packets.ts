/**
 * Packets longer than BPF_PROG_TEST_RUN takes (about 3500 bytes): sent for real, through a loopback device in a network
 * namespace of their own that has the peer's egress program attached by clsact.
 */
import { execFileSync } from 'node:child_process';
import type { DropReason } from '../datapath/types.js';
import { native } from '../native.js';
import { payload } from './builder.js';
import type { KeptExpected } from './case.js';
import { podIds, singleDrop, type Harness, type Variant } from './harness.js';
import { wrongInIpPacket } from './oracle-checksums.js';
import { addresses, flow, sent, type Family, type TestRule } from './topology.js';

export interface LongCase {
  name: string;
  rule: TestRule;
  /** the pod is held as a whole, and the rule isn't there */
  held?: boolean;
  /** an IP packet */
  packet: Buffer;
  drop: DropReason;
  kept: readonly KeptExpected[];
}

const loopback = 1;
const filter = { handle: 0x5a2, priority: 1 };
/** What a hold keeps at most. */
const longest = 9216;

function ofFamily(family: Family): LongCase[] {
  const on = (name: string): string => `${name}, IPv${family}`;
  const tcp = flow({ family, state: 'held' });
  const udp = flow({ family, protocol: 'udp', state: 'held' });
  const headers = (family === 4 ? 20 : 40) + 20;
  const jumbo = sent(tcp, tcp.identity, { payload: payload(8000) });
  const datagram = sent(udp, udp.identity, { payload: payload(9000) });
  const cut = { payload: payload(12000).subarray(0, longest - headers), flags: 'A' };
  return [
    {
      name: on('a jumbo segment is kept'),
      rule: tcp,
      packet: jumbo,
      drop: 'HELD',
      kept: [{ kind: 'segment', packet: jumbo }],
    },
    {
      name: on('a jumbo datagram is kept'),
      rule: udp,
      packet: datagram,
      drop: 'HELD',
      kept: [{ kind: 'datagram', packet: datagram }],
    },
    {
      name: on('a segment longer than a jumbo frame is cut, and loses its push'),
      rule: tcp,
      packet: sent(tcp, tcp.identity, { payload: payload(12000) }),
      drop: 'HELD',
      kept: [{ kind: 'segment', packet: sent(tcp, tcp.identity, cut) }],
    },
    {
      name: on('a datagram longer than a jumbo frame can not be kept'),
      rule: udp,
      packet: sent(udp, udp.identity, { payload: payload(9300) }),
      drop: 'HELD_TOO_LONG',
      kept: [],
    },
    {
      name: on('held pod: a SYN longer than a jumbo frame can not be kept'),
      rule: tcp,
      held: true,
      packet: sent(tcp, tcp.identity, { flags: 'S', payload: payload(9300) }),
      drop: 'HELD_TOO_LONG',
      kept: [],
    },
  ];
}

export const longCases: readonly LongCase[] = [...ofFamily(4), ...ofFamily(6)];

/** Run them all; failures by the case's name, none where it passed. */
export async function runLongCases(harness: Harness, variant: Variant): Promise<Map<string, string[]>> {
  const name = `serval-packets-${process.pid}`;
  const ip = (...args: string[]): unknown => execFileSync('ip', args);
  ip('netns', 'add', name);
  try {
    ip('-n', name, 'link', 'set', 'lo', 'up');
    // Packets between addresses of its own go through the loopback device, whose frames may be 64 KiB long.
    for (const { peer, old } of Object.values(addresses))
      for (const own of [peer, old])
        ip('-n', name, 'address', 'add', own, 'dev', 'lo', ...(own.includes(':') ? ['nodad'] : []));
    const netns = `/run/netns/${name}`;
    const program = harness.program(podIds.peer, 'egress', variant.kernelContext);
    await native().attachClsact(netns, loopback, 'egress', program, filter.handle, filter.priority);
    const results = new Map<string, string[]>();
    for (const one of longCases) results.set(one.name, await runLong(harness, netns, one));
    return results;
  } finally {
    ip('netns', 'delete', name);
  }
}

async function runLong(harness: Harness, netns: string, one: LongCase): Promise<string[]> {
  harness.clear();
  if (one.held) harness.markPod(podIds.peer, one);
  else harness.install(podIds.peer, [one.rule]);
  const before = harness.drops();
  const { refused } = await native().inject(netns, [one.packet]);
  const dropped = singleDrop(before, harness.drops());
  const kept = harness.takeKept(podIds.peer);
  harness.clear();
  const failures = refused.map(({ code }) => `refused: ${code}`);
  if (dropped?.reason !== one.drop)
    failures.push(`dropped as ${dropped?.reason ?? 'nothing, or more than once'}, expected ${one.drop}`);
  if (kept.length !== one.kept.length)
    failures.push(`kept ${kept.length} packets, expected ${one.kept.length}`);
  one.kept.forEach(({ kind, packet }, i) => {
    if (kept[i]?.kind !== kind || !kept[i].packet.equals(packet))
      failures.push(`kept packet ${i + 1} is not the one expected`);
    else failures.push(...wrongInIpPacket(kept[i].packet));
  });
  return failures;
}
