/**
 * The data plane in eBPF. Pinned maps are the truth: this class keeps no state that a restarted agent couldn't read
 * from them, and a kill at any point leaves the programs translating.
 */
import type { Server } from 'node:net';
import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { native, type FlowTable, type RingBuffer } from '../native.js';
import { packageFiles } from '../package-files.js';
import { salDrop, salReason } from './abi.generated.js';
import type { AttachContext } from './attachment.js';
import { explained, servalError } from './errors.js';
import { KeptStore } from './kept.js';
import { Lanes } from './lanes.js';
import { takeLock } from './lock.js';
import { PairTable } from './pair-table.js';
import { closeMaps, encodeConfig, openMaps, type SharedMaps } from './pins.js';
import { installPrograms } from './programs.js';
import type { KnownPod, PodMarks } from './pod-records.js';
import { PodTable } from './pod-table.js';
import { dropReasons, noDrops } from './reasons.js';
import { AddressReader, encodeKeys, planSlots, readyRule, stateNumber, type ReadyRule } from './rules.js';
import { countFlows, countHops, flowStatuses, readSlots, selectSlots, type SlotSelection } from './slots.js';
import { EbpfServices, type ServicesOptions } from './services/index.js';
import { uninstallConnect } from './services/connect.js';
import { forgetSessions, readSessions } from './sessions.js';
import { warmUp } from './warm-up.js';
import type {
  Datapath,
  DropCount,
  DropReason,
  FlowRule,
  FlowState,
  FlowStatus,
  KeptPacket,
  PodSpec,
  PodStatus,
  ReplayResult,
  RuleSelector,
  Session,
  WantedFlows,
} from './types.js';

export interface EbpfOptions {
  /** a mounted bpf file system, or where to mount one; default /sys/fs/bpf */
  bpffs?: string;
  /** slots of the flow table where it has to be made: two for each flow end, 128 bytes each; default 131072 */
  slots?: number;
  /** room of the service table where it has to be made: choices of replicas, and replicas; see pins.ts */
  services?: number;
  choices?: number;
  replicas?: number;
  /** the compiled programs; default: beside this package */
  objectPath?: string;
  /** `clsact` forces the fall-back of kernels before 6.6; default: what the kernel has */
  attach?: 'tcx' | 'clsact';
  /** false forces the helpers' way of rewriting that kernels before 6.2 need; default: what the kernel has */
  kernelContext?: boolean;
}

export const defaultObjectPath: string = packageFiles.podObject;

/** Removals come in bursts: one grace period serves them all. */
const recycleDelayMs = 20;

export class EbpfDatapath implements Datapath {
  private readonly reader = new AddressReader();
  private readonly kept = new KeptStore();
  /** one for each pod: whoever waits for a pod's programs to be attached keeps nobody else waiting */
  private readonly lanes = new Lanes();
  private recycling: NodeJS.Timeout | undefined;
  private ring: RingBuffer | undefined;

  private constructor(
    private readonly context: AttachContext,
    private readonly shared: SharedMaps,
    private readonly table: FlowTable,
    private readonly pairs: PairTable,
    private readonly lock: Server,
    private readonly known: PodTable,
  ) {}

  /**
   * Make the data plane, or adopt what an earlier agent has left; then bring its programs up to date.
   * @throws ServalError ERR_NO_PERMISSION, ERR_CONFLICT (another agent runs), ERR_STATE_MISMATCH, ERR_BAD_OBJECT,
   * ERR_UNSUPPORTED
   */
  static async open(options: EbpfOptions = {}): Promise<EbpfDatapath> {
    const bpffs = options.bpffs ?? '/sys/fs/bpf';
    const objectPath = options.objectPath ?? defaultObjectPath;
    const pinRoot = join(bpffs, 'serval');
    await explained(bpffs, () => {
      mkdirSync(bpffs, { recursive: true });
      if (!native().isBpffs(bpffs)) native().mountBpffs(bpffs);
    });
    const lock = await takeLock(realpathSync(bpffs));
    try {
      const datapath = await EbpfDatapath.assemble(options, pinRoot, objectPath, lock);
      await installPrograms(datapath.context);
      await datapath.adopt();
      warmUp();
      return datapath;
    } catch (error) {
      lock.close();
      throw servalError(error, bpffs);
    }
  }

  private static async assemble(
    options: EbpfOptions,
    pinRoot: string,
    objectPath: string,
    lock: Server,
  ): Promise<EbpfDatapath> {
    const probe = native().probe();
    const shared = await openMaps({ ...options, pinRoot, objectPath, slots: options.slots ?? 131072 });
    const { maps, config } = shared;
    const kernelContext = options.kernelContext ?? probe.kernelContext;
    const context: AttachContext = { pinRoot, objectPath, config, maps, kernelContext };
    const table = native().flowTable(maps.sal_buckets, maps.sal_slots, encodeConfig(config));
    const tcx = options.attach === undefined ? probe.tcx : options.attach === 'tcx';
    const pairs = new PairTable(maps.sal_pairs);
    const datapath = new EbpfDatapath(context, shared, table, pairs, lock, new PodTable(context, tcx));
    datapath.ring = native().ringBuffer(maps.sal_kept_packets, (record) => datapath.kept.add(record));
    return datapath;
  }

  /** Services beside it, on the same bpf file system: closed before it. */
  openServices(options: Omit<ServicesOptions, 'pinRoot' | 'maps'> = {}): Promise<EbpfServices> {
    return EbpfServices.open({
      ...options,
      pinRoot: this.context.pinRoot,
      maps: this.shared.maps,
    });
  }

  /** Detach everything, unpin everything. For hosts that leave the data plane for good, and for tests. */
  async uninstall(): Promise<void> {
    await this.lanes.idle();
    await this.known.detachAll();
    uninstallConnect(this.context.pinRoot);
    rmSync(this.context.pinRoot, { recursive: true, force: true });
    await this.close();
  }

  async addPod(pod: PodSpec): Promise<void> {
    await this.lanes.run(pod.name, () => this.known.put(pod));
  }

  async removePod(name: string): Promise<void> {
    await this.lanes.run(name, async () => {
      const pod = this.known.find(name);
      if (pod === undefined) return;
      if (pod.attached) {
        this.removeSlots(selectSlots(this.table, pod.attached.id, {}));
        await this.detach(pod);
      }
      this.known.forget(name);
    });
  }

  pods(): Promise<PodStatus[]> {
    return Promise.resolve(
      this.known.all().map(({ name, netns, interfaces, attached, marks }) => ({
        name,
        netns,
        interfaces: [...interfaces],
        ...marks,
        attached: attached !== undefined,
        flows: attached ? countFlows(selectSlots(this.table, attached.id, {})) : 0,
      })),
    );
  }

  async apply(name: string, rules: readonly FlowRule[]): Promise<void> {
    const ready = rules.map((rule) => readyRule(rule, this.reader));
    await this.inPod(name, async (pod) => {
      if (ready.length === 0) return;
      const id = await this.known.ensureAttached(pod);
      await this.detachUnused(pod, () => this.publish(id, ready));
    });
  }

  async setState(name: string, rules: readonly FlowRule[], state: FlowState): Promise<void> {
    const ready = rules.map((rule) => readyRule(rule, this.reader));
    await this.inPod(name, async (pod) => {
      const slots = pod.attached
        ? this.table.find(encodeKeys(pod.attached.id, ready, 'egress'))
        : new Uint32Array(ready.length);
      const missing = slots.findIndex((slot) => slot === 0);
      if (missing >= 0) throw absentFlow(name, rules[missing] as FlowRule);
      this.table.setState(slots, stateNumber[state]);
      // Back on the wire as itself: nothing is left to translate.
      if (state === 'active') {
        const plain = slots.filter((_, i) => ready[i]?.plain);
        await this.detachUnused(pod, () => this.removeSlots(readSlots(this.table, plain)));
      }
    });
  }

  async remove(name: string, selector: RuleSelector): Promise<number> {
    return this.inPod(name, async (pod) => {
      if (!pod.attached) return 0;
      const selected = selectSlots(this.table, pod.attached.id, selector);
      await this.detachUnused(pod, () => this.removeSlots(selected));
      return countHops(selected);
    });
  }

  async holdPod(name: string, held: boolean): Promise<void> {
    await this.mark(name, 'held', held);
  }

  async quiescePod(name: string, quiet: boolean): Promise<void> {
    await this.mark(name, 'quiet', quiet);
  }

  async trackUdp(name: string, tracked: boolean): Promise<void> {
    await this.mark(name, 'tracked', tracked);
  }

  async resolveGuests(name: string, guests: boolean): Promise<void> {
    await this.mark(name, 'guests', guests);
  }

  async sessions(name: string, maxIdleMs: number): Promise<Session[]> {
    return this.inPod(name, ({ attached, marks }) =>
      Promise.resolve(
        attached && marks.tracked ? readSessions(this.shared.maps.sal_sessions, attached.id, maxIdleMs) : [],
      ),
    );
  }

  private async mark(name: string, mark: keyof PodMarks, isSet: boolean): Promise<void> {
    await this.inPod(name, async (pod) => {
      if (!isSet && !pod.attached) return;
      const id = await this.known.ensureAttached(pod);
      // The id was another pod's before, or tracking begins anew.
      if (mark === 'tracked' && pod.marks.tracked !== isSet)
        forgetSessions(this.shared.maps.sal_sessions, id);
      pod.marks[mark] = isSet;
      this.known.write(pod);
      await this.detachUnused(pod, () => undefined);
    });
  }

  async flows(name?: string, wanted: WantedFlows = {}): Promise<FlowStatus[]> {
    if (name === undefined) return this.known.all().flatMap((pod) => this.statuses(pod, wanted));
    return this.inPod(name, (pod) => Promise.resolve(this.statuses(pod, wanted)));
  }

  async takeKept(name: string): Promise<KeptPacket[]> {
    return this.inPod(name, (pod) => {
      this.ring?.consume();
      return Promise.resolve(pod.attached ? this.kept.take(pod.attached.id, name) : []);
    });
  }

  async replay(name: string, packets: readonly KeptPacket[]): Promise<ReplayResult> {
    const pod = this.known.get(name);
    if (packets.length === 0) return { sent: 0, refused: [] };
    const result = await explained(`pod ${name}`, () =>
      native().inject(
        pod.netns,
        packets.map((kept) => kept.packet),
      ),
    );
    return {
      sent: result.sent,
      refused: result.refused.map(({ index, code }) => ({
        tuple: (packets[index] as KeptPacket).tuple,
        code,
      })),
    };
  }

  drops(): Promise<Record<DropReason, DropCount>> {
    const counts = noDrops();
    for (const reason of dropReasons) {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(salReason[reason]);
      const perCpu = this.shared.maps.sal_drops.lookup(key) ?? Buffer.alloc(0);
      for (let at = 0; at < perCpu.length; at += salDrop.size) {
        const { packets, bytes } = salDrop.read(perCpu, at);
        counts[reason].packets += packets;
        counts[reason].bytes += bytes;
      }
    }
    counts.HELD_OVERFLOW.packets += this.kept.overflow.packets;
    counts.HELD_OVERFLOW.bytes += this.kept.overflow.bytes;
    return Promise.resolve(counts);
  }

  async close(): Promise<void> {
    await this.lanes.idle();
    clearTimeout(this.recycling);
    this.ring?.close();
    this.table.close();
    closeMaps(this.shared.maps);
    await new Promise<void>((resolve) => this.lock.close(() => resolve()));
  }

  /** Work on a pod, after all that was asked for it before. Each change of the table is done in one go, without a wait. */
  private inPod<Result>(name: string, work: (pod: KnownPod) => Promise<Result>): Promise<Result> {
    return this.lanes.run(name, async () => work(this.known.get(name)));
  }

  private statuses(pod: KnownPod, wanted: WantedFlows): FlowStatus[] {
    return pod.attached ? flowStatuses(this.table, pod.attached.id, pod.name, wanted) : [];
  }

  /** Read back what an earlier agent left: pods with their programs, address pairs. */
  private async adopt(): Promise<void> {
    await this.known.adopt((id) => this.table.remove(selectSlots(this.table, id, {}).numbers));
    this.pairs.adopt(this.table.read(this.table.published()));
    for (const pod of this.known.all()) await this.detachUnused(pod, () => undefined);
  }

  private publish(id: number, ready: readonly ReadyRule[]): void {
    const { slots, fresh, itselfAgain } = planSlots(id, ready, {
      ingress: this.table.find(encodeKeys(id, ready, 'ingress')),
      egress: this.table.find(encodeKeys(id, ready, 'egress')),
    });
    this.pairs.add(slots, fresh);
    try {
      this.table.insert(slots);
    } catch (error) {
      this.pairs.remove(slots, fresh);
      throw error;
    }
    this.removeSlots(readSlots(this.table, Uint32Array.from(itselfAgain)));
  }

  private removeSlots({ numbers, slots, indices }: SlotSelection): void {
    if (numbers.length === 0) return;
    this.table.remove(numbers);
    this.pairs.remove(slots, indices);
    this.recycleSoon();
  }

  /** Off the path of the next move, which would have to wait for a grace period when slots run out. */
  private recycleSoon(): void {
    if (this.recycling !== undefined) return;
    this.recycling = setTimeout(() => {
      this.recycling = undefined;
      // A kernel that refuses is told of where it matters: by the insert that runs out of slots.
      this.table.recycle().catch(() => undefined);
    }, recycleDelayMs).unref();
  }

  /** Do the work, then detach where the pod has neither a rule nor a mark any more. */
  private async detachUnused(pod: KnownPod, work: () => void): Promise<void> {
    try {
      await explained(`pod ${pod.name}`, work);
    } finally {
      const { attached, marks } = pod;
      const isUsed = Object.values(marks).includes(true) || this.pairs.hasPod(attached?.id ?? 0);
      if (attached && !isUsed) await this.detach(pod);
    }
  }

  private async detach(pod: KnownPod): Promise<void> {
    const id = pod.attached?.id ?? 0;
    await this.known.detach(pod);
    this.ring?.consume();
    this.kept.clear(id);
  }
}

function absentFlow(pod: string, rule: FlowRule): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `flow ${rule.flowId} of pod ${pod}`,
    reason: 'it has no outbound rule',
    remedy: 'Apply the rule before its state is set',
  });
}
