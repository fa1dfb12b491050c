/** Runs table cases. Each packet's fate must be the table's, and the oracle must come to the same. */
import { salReason } from '../datapath/abi.generated.js';
import type { DropReason } from '../datapath/types.js';
import type { Expected, PacketCase, Step } from './case.js';
import { allCases } from './cases/index.js';
import type { TestRunInput, TestRunResult } from '../native.js';
import { Harness, oracleRules, podIds, singleDrop, type Variant } from './harness.js';
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
  harness.markPod(pod, one);
  const failures = one.steps.flatMap((step, i) => {
    const found = runStep({ harness, variant, one, pod, oracle }, step);
    return found.map((failure) => (one.steps.length > 1 ? `step ${i + 1}: ${failure}` : failure));
  });
  failures.push(...checkCounters(harness, slots, one), ...checkKept(harness, pod, one));
  if (one.sessions !== undefined)
    failures.push(...compareNames(harness.sessions(pod), one.sessions, 'sessions'));
  harness.clear();
  return failures;
}

function oracleFor(one: PacketCase, pod: number): Oracle {
  const foreign = one.foreign === undefined ? [] : oracleRules(podIds[one.foreign.pod], one.foreign.rules);
  return new Oracle(
    [...oracleRules(pod, one.rules ?? []), ...foreign],
    one.held ? [pod] : [],
    one.quiet ? [pod] : [],
  );
}

interface Bench {
  harness: Harness;
  variant: Variant;
  one: PacketCase;
  pod: number;
  oracle: Oracle;
}

function runStep(bench: Bench, step: Step): string[] {
  const before = bench.harness.drops();
  const run = runPacket(bench, step);
  if (typeof run === 'string') return [run];
  const result = step.rerouted ? asPassed(step, run) : run;
  if (step.repeat !== undefined) return [];
  const after = bench.harness.drops();
  const failures = isDrop(step.expect)
    ? checkDropped(step, step.expect.drop, result.verdict, singleDrop(before, after))
    : checkPassed(step, step.expect, result, JSON.stringify(before) === JSON.stringify(after));
  return failures.length > 0 ? failures : askOracle(bench, step, result.data);
}

/** Which way it went, and so its destination on the link, is the machine's business. */
function asPassed({ packet }: Step, result: TestRunResult): TestRunResult {
  const verdict = result.verdict === verdicts.redirect ? verdicts.pass : result.verdict;
  return { ...result, verdict, data: Buffer.concat([packet.subarray(0, 6), result.data.subarray(6)]) };
}

/** The program's result, or what the kernel says against it. */
function runPacket({ harness, variant, pod }: Bench, step: Step): TestRunResult | string {
  const input: TestRunInput = {
    data: step.packet,
    // GSO and CHECKSUM_COMPLETE can't be had together, and nobody asks for the checksum of a packet that is dropped.
    checksumComplete: step.gso === undefined && !isDrop(step.expect),
    ...(step.gso === undefined ? {} : { gsoSize: step.gso.size, gsoSegments: step.gso.segments }),
    ...(step.repeat === undefined ? {} : { repeat: step.repeat }),
  };
  try {
    return harness.run(pod, step.way, variant, input);
  } catch (error) {
    return `the kernel says ${String(error)}${variant.checksumComplete ? ' (EBADMSG: skb->csum is wrong)' : ''}`;
  }
}

function checkDropped(
  step: Step,
  reason: DropReason,
  verdict: number,
  counted: ReturnType<typeof singleDrop>,
): string[] {
  if (verdict === verdicts.pass) return [`expected drop ${reason}, passed`];
  if (counted === undefined) return ['dropped, but not counted exactly once'];
  if (counted.reason !== reason) return [`expected drop ${reason}, got ${counted.reason}`];
  if (counted.bytes !== step.packet.length)
    return [`counted ${counted.bytes} bytes of ${step.packet.length}`];
  const expected = dropVerdict(step.way, reason);
  return verdict === expected ? [] : [`dropped by verdict ${verdict}, expected ${expected}`];
}

function checkPassed(
  step: Step,
  expect: 'pass untouched' | Buffer,
  result: TestRunResult,
  isUncounted: boolean,
): string[] {
  if (result.verdict !== verdicts.pass) return [`expected to pass, got verdict ${result.verdict}`];
  if (!isUncounted) return ['passed, but counted as dropped'];
  const wanted = expect === 'pass untouched' ? step.packet : expect;
  if (result.data.equals(wanted)) return [];
  return [`expected ${describeFrame(wanted)}\n     got ${describeFrame(result.data)}`];
}

/** The oracle must come to what the table says. How full a ring buffer is, and how GSO is cut, is not its business. */
function askOracle({ oracle, pod, one }: Bench, step: Step, output: Buffer): string[] {
  const expectation = oracle.expect(pod, step.way, step.packet);
  if (isDrop(step.expect)) {
    if (step.expect.drop === 'HELD_RING_FULL' || step.gso !== undefined) return [];
    const agrees = meets(expectation, step.packet, output, salReason[step.expect.drop]);
    return agrees ? [] : ['the oracle would not drop it like that'];
  }
  const disagreement = meets(expectation, step.packet, output, undefined)
    ? []
    : ['the oracle comes to something else'];
  return [...disagreement, ...compareNames(wrongChecksums(output), one.wrongChecksums ?? [])];
}

function isDrop(expect: Expected): expect is { drop: DropReason } {
  return typeof expect === 'object' && !Buffer.isBuffer(expect);
}

/**
 * What the hold of a flow keeps back on its way out is given up by a redirect to nowhere, so that TCP believes it sent; in a
 * held pod TCP is to know that it was not.
 */
export function dropVerdict(way: Direction, reason: DropReason): number {
  const silent = way === 'egress' && reason.startsWith('HELD') && reason !== 'HELD_POD';
  return silent ? verdicts.redirect : verdicts.shot;
}

function compareNames(
  found: readonly string[],
  expected: readonly string[],
  what = 'wrong checksums',
): string[] {
  return found.join() === expected.join()
    ? []
    : [`${what}: ${found.join() || 'none'}, expected: ${expected.join() || 'none'}`];
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
