/** Runs table cases. Each packet's fate must be the table's, and the oracle must come to the same. */
import { salReason } from '../datapath/abi.generated.js';
import type { DropReason } from '../datapath/types.js';
import type { Expected, PacketCase, Step } from './case.js';
import { allCases } from './cases/index.js';
import { Harness, oracleRules, podIds, singleDrop, type DropCounts, type Variant } from './harness.js';
import { describeFrame, wrongChecksums, wrongInIpPacket } from './oracle-checksums.js';
import { meets, Oracle, type Direction } from './oracle.js';

const verdicts = { pass: -1, shot: 2, redirect: 7 };

export interface CaseResult {
  variant: string;
  name: string;
  /** empty: it passed */
  failures: string[];
  /** why this kernel can't run it */
  lacks?: string;
}

export function runCases(harness: Harness, cases: readonly PacketCase[] = allCases): CaseResult[] {
  return harness.variants().flatMap(({ variant, lacks }): CaseResult[] => {
    if (lacks !== undefined) return [{ variant: variant.name, name: 'all cases', failures: [], lacks }];
    return cases.map((one) => ({
      variant: variant.name,
      name: one.name,
      failures: runCase(harness, variant, one),
    }));
  });
}

/** What went wrong; empty where nothing did. */
export function runCase(harness: Harness, variant: Variant, one: PacketCase): string[] {
  harness.clear();
  const pod = podIds[one.pod ?? 'peer'];
  const oracle = oracleFor(one, pod);
  if (one.foreign !== undefined) harness.install(podIds[one.foreign.pod], one.foreign.rules);
  const slots = harness.install(pod, one.rules ?? []);
  if (one.held) harness.holdPod(pod, true);
  const failures = one.steps.flatMap((step, i) => {
    const found = runStep({ harness, variant, one, pod, oracle }, step);
    return found.map((failure) => (one.steps.length > 1 ? `step ${i + 1}: ${failure}` : failure));
  });
  failures.push(...checkCounters(harness, slots, one), ...checkKept(harness, pod, one));
  harness.clear();
  return failures;
}

function oracleFor(one: PacketCase, pod: number): Oracle {
  const foreign = one.foreign === undefined ? [] : oracleRules(podIds[one.foreign.pod], one.foreign.rules);
  return new Oracle([...oracleRules(pod, one.rules ?? []), ...foreign], one.held ? [pod] : []);
}

interface Bench {
  harness: Harness;
  variant: Variant;
  one: PacketCase;
  pod: number;
  oracle: Oracle;
}

function runStep(bench: Bench, step: Step): string[] {
  const { harness, variant, one, pod, oracle } = bench;
  // GSO and CHECKSUM_COMPLETE can't be had together, and nobody asks for the checksum of a packet that is dropped.
  const checksumComplete = step.gso === undefined && !isDrop(step.expect);
  const gso = step.gso === undefined ? {} : { gsoSize: step.gso.size, gsoSegments: step.gso.segments };
  const input = {
    data: step.packet,
    ...gso,
    checksumComplete,
    ...(step.repeat === undefined ? {} : { repeat: step.repeat }),
  };
  const before = harness.drops();
  let result;
  try {
    result = harness.run(pod, step.way, variant, input);
  } catch (error) {
    return [
      `the kernel says ${String(error)}${variant.checksumComplete ? ' (EBADMSG: skb->csum is wrong)' : ''}`,
    ];
  }
  if (step.repeat !== undefined) return [];
  const after = harness.drops();
  const fate = describeFate(step, result, before, after);
  const failures = [...fate.failures];
  if (failures.length > 0) return failures;
  const expectation = oracle.expect(pod, step.way, step.packet);
  const drop = fate.drop === undefined ? undefined : salReason[fate.drop];
  // How a ring buffer or a length limit feels is not the oracle's business.
  const isHoldDetail =
    fate.drop === 'HELD_RING_FULL' || fate.drop === 'HELD_TOO_LONG' || step.gso !== undefined;
  if (!isHoldDetail && !meets(expectation, step.packet, result.data, drop))
    failures.push('the oracle comes to something else');
  if (drop === undefined)
    failures.push(...compareNames(wrongChecksums(result.data), one.wrongChecksums ?? []));
  return failures;
}

type Fate = { drop?: keyof DropCounts; failures: string[] };

/** Compare verdict, bytes and counters with the table. */
function describeFate(
  step: Step,
  result: { verdict: number; data: Buffer },
  before: DropCounts,
  after: DropCounts,
): Fate {
  const counted = singleDrop(before, after);
  const isDropped = result.verdict !== verdicts.pass;
  if (isDropped && counted === undefined) return { failures: ['dropped, but not counted once'] };
  if (!isDropped && JSON.stringify(before) !== JSON.stringify(after))
    return { failures: ['passed, but counted as dropped'] };
  const { expect } = step;
  if (isDrop(expect)) {
    if (counted?.reason !== expect.drop)
      return { failures: [`expected drop ${expect.drop}, got ${counted?.reason ?? 'passed'}`] };
    if (counted.bytes !== step.packet.length)
      return { failures: [`counted ${counted.bytes} bytes of ${step.packet.length}`] };
    return { drop: counted.reason, failures: checkVerdict(step, counted.reason, result.verdict) };
  }
  if (counted !== undefined) return { failures: [`expected to pass, dropped as ${counted.reason}`] };
  const wanted = expect === 'pass untouched' ? step.packet : expect;
  return {
    failures: result.data.equals(wanted)
      ? []
      : [`expected ${describeFrame(wanted)}\n     got ${describeFrame(result.data)}`],
  };
}

function isDrop(expect: Expected): expect is { drop: DropReason } {
  return typeof expect === 'object' && !Buffer.isBuffer(expect);
}

/** What a hold keeps back on its way out is given up by a redirect to nowhere, so that TCP believes it sent. */
export function dropVerdict(way: Direction, reason: DropReason): number {
  return way === 'egress' && reason.startsWith('HELD') ? verdicts.redirect : verdicts.shot;
}

function checkVerdict(step: Step, reason: DropReason, verdict: number): string[] {
  const expected = dropVerdict(step.way, reason);
  return verdict === expected ? [] : [`dropped by verdict ${verdict}, expected ${expected}`];
}

function compareNames(wrong: readonly string[], expected: readonly string[]): string[] {
  return wrong.join() === expected.join()
    ? []
    : [`wrong checksums: ${wrong.join() || 'none'}, expected: ${expected.join() || 'none'}`];
}

function checkCounters(harness: Harness, slots: Uint32Array, one: PacketCase): string[] {
  if (one.counters === undefined) return [];
  const all = harness.counters(slots);
  const inbound = all[0];
  const outbound = all[slots.length / 2];
  const found = [outbound?.packets, outbound?.bytes, inbound?.packets, inbound?.bytes];
  return found.join() === one.counters.join()
    ? []
    : [`counters ${found.join()}, expected ${one.counters.join()}`];
}

function checkKept(harness: Harness, pod: number, one: PacketCase): string[] {
  const kept = harness.takeKept(pod);
  const failures: string[] = [];
  if (one.overflow !== undefined && Number(harness.kept.overflow.packets) !== one.overflow)
    failures.push(`${harness.kept.overflow.packets} datagrams pushed out, expected ${one.overflow}`);
  if (one.kept === undefined) return failures;
  if (kept.length !== one.kept.length)
    failures.push(`kept ${kept.map(({ kind }) => kind).join() || 'nothing'}`);
  one.kept.forEach((expected, i) => {
    const found = kept[i];
    if (found === undefined) return;
    if (found.kind !== expected.kind)
      failures.push(`kept packet ${i + 1} is a ${found.kind}, expected ${expected.kind}`);
    if (!found.packet.equals(expected.packet))
      failures.push(
        `kept packet ${i + 1}: expected ${expected.packet.toString('hex')}\n     got ${found.packet.toString('hex')}`,
      );
    failures.push(...compareNames(wrongInIpPacket(found.packet), []));
  });
  return failures;
}
