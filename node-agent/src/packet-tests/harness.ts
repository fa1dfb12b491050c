/**
 * Runs the flow programs on single packets (BPF_PROG_TEST_RUN): maps of their own on a private bpf file system, rules
 * written as the data plane writes them, nothing attached anywhere. Needs root.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  native,
  isNativeError,
  type BpfMap,
  type FlowTable,
  type RingBuffer,
  type TestRunInput,
  type TestRunResult,
} from '../native.js';
import { salDrop, salLimit, salPod, salPodFlag, salReason, salSlot } from '../datapath/abi.generated.js';
import { defaultObjectPath } from '../datapath/ebpf.js';
import { KeptStore } from '../datapath/kept.js';
import { PairTable } from '../datapath/pair-table.js';
import { closeMaps, encodeConfig, openMaps, type SharedMaps } from '../datapath/pins.js';
import { closePrograms, installPrograms, loadPrograms, type Programs } from '../datapath/programs.js';
import { dropReasons } from '../datapath/reasons.js';
import { forgetSessions, readSessions } from '../datapath/sessions.js';
import { AddressReader, encodeSlots, readyRule, stateNumber, type SlotPlan } from '../datapath/rules.js';
import type { DropReason, KeptPacket } from '../datapath/types.js';
import type { Direction, OracleRule } from './oracle.js';
import { frame } from './builder.js';
import { flow, sent, type TestRule } from './topology.js';

/** Which of the two ways of rewriting the transport checksum, and what the kernel says about the packet's. */
export interface Variant {
  name: string;
  kernelContext: boolean;
  checksumComplete: boolean;
}

export interface Support {
  variant: Variant;
  /** why this kernel can't run it */
  lacks?: string;
}

/** Ids of pods that have program instances. */
export const podIds = { peer: 1, moved: 2, other: 3, held: 4, quiet: 5 } as const;
export type PodName = keyof typeof podIds;

export interface PodMarks {
  held?: boolean;
  quiet?: boolean;
  tracked?: boolean;
}

export type DropCounts = Record<DropReason, { packets: number; bytes: number }>;

export class Harness {
  readonly kept = new KeptStore();
  private readonly arrays: BpfMap[] = [];
  private readonly programs = new Map<string, Programs>();
  private readonly reader = new AddressReader();
  private readonly ring: RingBuffer;
  private readonly table: FlowTable;
  private readonly pairs: PairTable;
  private records = 0;
  private hasComplete?: boolean;

  private constructor(
    private readonly bpffs: string,
    private readonly objectPath: string,
    private readonly shared: SharedMaps,
  ) {
    this.table = native().flowTable(
      shared.maps.sal_buckets,
      shared.maps.sal_slots,
      encodeConfig(shared.config),
    );
    this.pairs = new PairTable(shared.maps.sal_pairs);
    this.ring = native().ringBuffer(shared.maps.sal_kept_packets, (record) => {
      this.records++;
      this.kept.add(record);
    });
  }

  /** SERVAL_BPF_OBJECT: another object than the one beside this package. */
  static async open(objectPath = process.env['SERVAL_BPF_OBJECT'] ?? defaultObjectPath): Promise<Harness> {
    const bpffs = mkdtempSync(join(tmpdir(), 'serval-packets-'));
    let isMounted = false;
    try {
      native().mountBpffs(bpffs);
      isMounted = true;
      const shared = await openMaps({ pinRoot: join(bpffs, 'serval'), objectPath, slots: 4096 });
      const harness = new Harness(bpffs, objectPath, shared);
      await harness.loadAll();
      return harness;
    } catch (error) {
      if (isMounted) native().unmountBpffs(bpffs);
      rmSync(bpffs, { recursive: true, force: true });
      throw error;
    }
  }

  /** Every pod's programs, in both ways of rewriting where the kernel has both. */
  private async loadAll(): Promise<void> {
    const ways = native().probe().kernelContext ? [true, false] : [false];
    for (const kernelContext of ways) {
      // Entries jump by a map of the way's own.
      const maps = { ...this.shared.maps, sal_programs: await this.programArray() };
      const context = { objectPath: this.objectPath, config: this.shared.config, maps, kernelContext };
      await installPrograms(context);
      this.arrays.push(maps.sal_programs);
      for (const id of Object.values(podIds))
        this.programs.set(`${id}/${kernelContext}`, await loadPrograms(context, id));
    }
  }

  private async programArray(): Promise<BpfMap> {
    const object = native().openObject(this.objectPath);
    for (const name of object.programNames()) object.setAutoload(name, false);
    await object.load();
    const array = object.map('sal_programs');
    object.close();
    return array;
  }

  dispose(): void {
    for (const array of this.arrays) array.close();
    for (const programs of this.programs.values()) closePrograms(programs);
    this.ring.close();
    this.table.close();
    closeMaps(this.shared.maps);
    native().unmountBpffs(this.bpffs);
    rmSync(this.bpffs, { recursive: true, force: true });
  }

  /** What this kernel can run, found out by trying. */
  variants(): Support[] {
    const hasContext = native().probe().kernelContext;
    const hasComplete = (this.hasComplete ??= this.verifiesChecksumComplete());
    const noContext = 'the kernel has no bpf_cast_to_kern_ctx (before 6.2)';
    const noComplete = 'BPF_PROG_TEST_RUN does not verify CHECKSUM_COMPLETE (before 6.17, but for backports)';
    const variant = (name: string, kernelContext: boolean, checksumComplete: boolean): Support => {
      const lacks =
        kernelContext && !hasContext ? noContext : checksumComplete && !hasComplete ? noComplete : undefined;
      return {
        variant: { name, kernelContext, checksumComplete },
        ...(lacks === undefined ? {} : { lacks }),
      };
    };
    return [
      variant('direct rewriting', true, false),
      variant('rewriting by helpers', false, false),
      variant('CHECKSUM_COMPLETE, direct rewriting', true, true),
      variant('CHECKSUM_COMPLETE, rewriting by helpers', false, true),
    ];
  }

  /**
   * A packet whose TCP header is cut off is given up after its ports were written, with skb->csum as it was: a kernel
   * that verifies it must complain.
   */
  private verifiesChecksumComplete(): boolean {
    const rule = flow({ portsChanged: true });
    const data = frame({}, sent(rule, rule.identity)).subarray(0, 45);
    const slots = this.install(podIds.other, [rule]);
    try {
      this.program(podIds.other, 'egress', false).run({ data, checksumComplete: true });
      return false;
    } catch (error) {
      if (isNativeError(error) && error.code === 'EBADMSG') return true;
      if (isNativeError(error) && error.code === 'EINVAL') return false;
      throw error;
    } finally {
      this.remove(slots);
    }
  }

  program(pod: number, direction: Direction, kernelContext: boolean): Programs['egress'] {
    const programs = this.programs.get(`${pod}/${kernelContext}`);
    if (programs === undefined)
      throw new Error(`no programs for pod ${pod}, kernel context ${kernelContext}`);
    return programs[direction];
  }

  run(pod: number, direction: Direction, variant: Variant, input: TestRunInput): TestRunResult {
    const checksumComplete = variant.checksumComplete && input.checksumComplete !== false;
    return this.program(pod, direction, variant.kernelContext).run({ ...input, checksumComplete });
  }

  /** As the data plane publishes rules: inbound halves first, then outbound ones. Returns the slots in that order. */
  install(pod: number, rules: readonly TestRule[]): Uint32Array {
    const ready = rules.map((rule) => readyRule(rule, this.reader));
    const inbound: SlotPlan[] = ready.map((rule, i) => ({
      ready: rule,
      direction: 'ingress',
      state: stateNumber[rules[i]?.inbound ?? 'active'],
    }));
    const outbound: SlotPlan[] = ready.map((rule) => ({
      ready: rule,
      direction: 'egress',
      state: stateNumber[rule.rule.state],
    }));
    const slots = encodeSlots(pod, [...inbound, ...outbound]);
    this.pairs.add(slots);
    return this.table.insert(slots);
  }

  remove(slots: Uint32Array): void {
    const bytes = this.table.read(slots);
    this.table.remove(slots);
    this.pairs.remove(bytes);
  }

  /** What is to hold for a pod as a whole; of what is not named, nothing. */
  markPod(pod: number, { held = false, quiet = false, tracked = false }: PodMarks): void {
    const value = Buffer.alloc(salPod.size);
    const text = { interfaces: 'eth0', netns: '', name: `test/${pod}` };
    salPod.write(value, 0, {
      flags:
        salPodFlag.USED |
        (held ? salPodFlag.HELD : 0) |
        (quiet ? salPodFlag.QUIET : 0) |
        (tracked ? salPodFlag.TRACKED : 0),
      devices: 0,
      ifindex: Array<number>(salLimit.DEVICES_MAX).fill(0),
      netnsInode: 0n,
      ...text,
    });
    this.shared.maps.sal_pods.update(u32(pod), value);
  }

  /** Back to an empty data plane; the drop counters go on. */
  clear(): void {
    const slots = this.table.published();
    if (slots.length > 0) this.remove(slots);
    this.forgetFragments();
    for (const id of Object.values(podIds)) {
      this.markPod(id, {});
      forgetSessions(this.shared.maps.sal_sessions, id);
    }
    this.drain();
    for (const id of Object.values(podIds)) this.kept.clear(id);
    this.kept.overflow = { packets: 0n, bytes: 0n };
  }

  /** Tuples of a pod's UDP sessions, as text. */
  sessions(pod: number): string[] {
    return readSessions(this.shared.maps.sal_sessions, pod, 60_000).map(
      ({ tuple: { local, remote } }) => `${local.address} ${local.port} ${remote.address} ${remote.port}`,
    );
  }

  forgetFragments(): void {
    const { count, keys } = this.shared.maps.sal_fragments.entries();
    const size = count === 0 ? 0 : keys.length / count;
    for (let i = 0; i < count; i++)
      this.shared.maps.sal_fragments.delete(keys.subarray(i * size, (i + 1) * size));
  }

  /** Read what the ring buffer has; returns how many records there were. */
  drain(): number {
    this.records = 0;
    this.ring.consume();
    return this.records;
  }

  takeKept(pod: number): KeptPacket[] {
    this.drain();
    return this.kept.take(pod, `test/${pod}`);
  }

  drops(): DropCounts {
    const counts = {} as DropCounts;
    for (const reason of dropReasons) counts[reason] = this.drop(reason);
    return counts;
  }

  private drop(reason: DropReason): { packets: number; bytes: number } {
    const perCpu = this.shared.maps.sal_drops.lookup(u32(salReason[reason])) ?? Buffer.alloc(0);
    const count = { packets: 0, bytes: 0 };
    for (let at = 0; at < perCpu.length; at += salDrop.size) {
      count.packets += Number(perCpu.readBigUInt64LE(at + salDrop.offset.packets));
      count.bytes += Number(perCpu.readBigUInt64LE(at + salDrop.offset.bytes));
    }
    return count;
  }

  counters(slots: Uint32Array): Array<{ packets: number; bytes: number }> {
    const bytes = this.table.read(slots);
    return Array.from(slots, (_, i) => {
      const slot = salSlot.read(bytes, i * salSlot.size);
      return { packets: Number(slot.packets), bytes: Number(slot.bytes) };
    });
  }
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

/** The same rules for the oracle, one for each direction. */
export function oracleRules(pod: number, rules: readonly TestRule[]): OracleRule[] {
  return rules.flatMap((rule): OracleRule[] => [
    {
      pod,
      direction: 'egress',
      protocol: rule.protocol,
      match: rule.identity,
      to: rule.wire,
      state: rule.state,
    },
    {
      pod,
      direction: 'ingress',
      protocol: rule.protocol,
      match: rule.wire,
      to: rule.identity,
      state: rule.inbound ?? 'active',
    },
  ]);
}

/** The reason by which exactly one drop was counted between two readings; undefined where it is none or several. */
export function singleDrop(
  before: DropCounts,
  after: DropCounts,
): { reason: DropReason; bytes: number } | undefined {
  const changed = dropReasons.filter((reason) => after[reason].packets !== before[reason].packets);
  const [reason] = changed;
  if (changed.length !== 1 || reason === undefined || after[reason].packets - before[reason].packets !== 1)
    return undefined;
  return { reason, bytes: after[reason].bytes - before[reason].bytes };
}
