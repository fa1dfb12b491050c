/** What a table case is made of. The tables lie in cases/; `runner.ts` runs them. */
import type { DropReason, KeptPacket } from '../datapath/types.js';
import type { PodName } from './harness.js';
import type { Direction } from './oracle.js';
import type { TestRule } from './topology.js';

export type Expected = 'pass untouched' | Buffer | { drop: DropReason };

/** One packet through one of the two programs. */
export interface Step {
  way: Direction;
  /** an Ethernet frame */
  packet: Buffer;
  expect: Expected;
  /** it passes, or is redirected: which of the two depends on the machine's routes */
  rerouted?: boolean;
  gso?: { size: number; segments: number };
  /** run it so often, and don't look at what becomes of it: to fill something up */
  repeat?: number;
}

export interface KeptExpected {
  kind: KeptPacket['kind'];
  /** the IP packet that replay would send */
  packet: Buffer;
}

export interface PacketCase {
  name: string;
  /** whose programs the packets meet; default peer */
  pod?: PodName;
  /** the pod is held as a whole */
  held?: boolean;
  /** the pod is quiesced: nothing new is let in or out */
  quiet?: boolean;
  /** the pod's UDP sessions are noted */
  tracked?: boolean;
  rules?: readonly TestRule[];
  /** rules of another pod beside it */
  foreign?: { pod: PodName; rules: readonly TestRule[] };
  steps: readonly Step[];
  /** what replay gets at the end */
  kept?: readonly KeptExpected[];
  /** tuples that are noted at the end: local and remote ends as text */
  sessions?: readonly string[];
  /** datagrams that were pushed out by younger ones */
  overflow?: number;
  /** of the first rule: packets and bytes out, packets and bytes in */
  counters?: readonly [number, number, number, number];
  /** checksums that the packets come with wrong, and leave with wrong */
  wrongChecksums?: readonly string[];
}

/** Shorthand for the common case: one packet. */
export function single(
  name: string,
  fields: Omit<PacketCase, 'name' | 'steps'> & Omit<Step, 'expect'>,
  expect: Expected,
): PacketCase {
  const { way, packet, gso, ...rest } = fields;
  return { name, ...rest, steps: [{ way, packet, expect, ...(gso === undefined ? {} : { gso }) }] };
}

/** Reasons that these cases provoke. */
export function coveredReasons(
  cases: readonly PacketCase[],
  longCases: ReadonlyArray<{ drop: DropReason }>,
): Set<DropReason> {
  const reasons = new Set<DropReason>(longCases.map(({ drop }) => drop));
  for (const { steps, overflow } of cases) {
    if (overflow !== undefined) reasons.add('HELD_OVERFLOW');
    for (const { expect } of steps)
      if (typeof expect === 'object' && !Buffer.isBuffer(expect)) reasons.add(expect.drop);
  }
  return reasons;
}
