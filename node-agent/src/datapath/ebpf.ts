/**
 * The data plane in eBPF. Pinned maps are the truth: this class keeps no state that a restarted agent couldn't read
 * from them, and a kill at any point leaves the programs translating.
 */
import type { Server } from 'node:net';
import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { native, type FlowTable, type RingBuffer } from '../native.js';
import { salDrop, salLimit, salPod, salPodFlag, salReason, type SalPod } from './abi.generated.js';
import { adoptPod, attachPod, detachPod, type AttachContext } from './attachment.js';
import { explained, servalError } from './errors.js';
import { KeptStore } from './kept.js';
import { takeLock } from './lock.js';
import { PairTable } from './pair-table.js';
import { closeMaps, encodeConfig, openMaps, type SharedMaps } from './pins.js';
import { dropReasons, noDrops } from './reasons.js';
import { AddressReader, encodeKeys, planSlots, readyRule, stateNumber, type ReadyRule } from './rules.js';
import { countFlows, countHops, flowStatuses, readSlots, selectSlots, type SlotSelection } from './slots.js';
import { decodePod, encodePod, target, type KnownPod } from './pod-records.js';
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
} from './types.js';

export interface EbpfOptions {
  /** a mounted bpf file system, or where to mount one; default /sys/fs/bpf */
  bpffs?: string;
  /** slots of the flow table where it has to be made: two for each flow end, 128 bytes each; default 131072 */
  slots?: number;
  /** the compiled programs; default: beside this package */
  objectPath?: string;
  /** `clsact` forces the fall-back of kernels before 6.6; default: what the kernel has */
  attach?: 'tcx' | 'clsact';
  /** false forces the helpers' way of rewriting that kernels before 6.2 need; default: what the kernel has */
  kernelContext?: boolean;
}

export const defaultObjectPath = new URL('../../build/sal_pod.bpf.o', import.meta.url).pathname;

/** Removals come in bursts: one grace period serves them all. */
const recycleDelayMs = 20;

export class EbpfDatapath implements Datapath {
  private readonly known = new Map<string, KnownPod>();
  private readonly reader = new AddressReader();
  private readonly kept = new KeptStore();
  private queue: Promise<unknown> = Promise.resolve();
  private recycling: NodeJS.Timeout | undefined;
  private ring: RingBuffer | undefined;

  private constructor(
    private readonly context: AttachContext,
    private readonly shared: SharedMaps,
    private readonly table: FlowTable,
    private readonly pairs: PairTable,
    private readonly lock: Server,
    private readonly tcx: boolean,
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
    const shared = await openMaps({ pinRoot, objectPath, slots: options.slots ?? 131072 });
    const { maps, config } = shared;
    const kernelContext = options.kernelContext ?? probe.kernelContext;
    const context: AttachContext = { pinRoot, objectPath, config, maps, kernelContext };
    const table = native().flowTable(maps.sal_buckets, maps.sal_slots, encodeConfig(config));
    const tcx = options.attach === undefined ? probe.tcx : options.attach === 'tcx';
    const datapath = new EbpfDatapath(context, shared, table, new PairTable(maps.sal_pairs), lock, tcx);
    datapath.ring = native().ringBuffer(maps.sal_kept_packets, (record) => datapath.kept.add(record));
    return datapath;
  }

  /** Detach everything, unpin everything. For hosts that leave the data plane for good, and for tests. */
  async uninstall(): Promise<void> {
    await this.serialised(async () => {
      for (const pod of this.known.values()) if (pod.attached) await detachPod(this.context, target(pod));
      rmSync(this.context.pinRoot, { recursive: true, force: true });
    });
    await this.close();
  }

  async addPod(pod: PodSpec): Promise<void> {
    await this.serialised(async () => {
      const known = this.known.get(pod.name);
      const { inode, ifindex } = await explained(
        `pod ${pod.name} (${pod.netns}, ${pod.interface})`,
        async () => ({
          inode: (await native().netnsIdentity(pod.netns)).inode,
          ifindex: await native().interfaceIndex(pod.netns, pod.interface),
        }),
      );
      if (known === undefined) {
        this.known.set(pod.name, { ...pod, inode, ifindex, held: false, quiet: false });
      } else if (known.inode === inode && known.ifindex === ifindex) {
        known.netns = pod.netns;
      } else {
        throw new ServalError('ERR_CONFLICT', {
          subject: `pod ${pod.name}`,
          reason: 'the name is taken by a pod in another network namespace',
          remedy: 'Remove the earlier pod first: names are unique on a node',
        });
      }
    });
  }

  async removePod(name: string): Promise<void> {
    await this.serialised(async () => {
      const pod = this.known.get(name);
      if (pod === undefined) return;
      if (pod.attached) {
        this.removeSlots(selectSlots(this.table, pod.attached.id, {}));
        await this.detach(pod);
      }
      this.known.delete(name);
    });
  }

  async pods(): Promise<PodStatus[]> {
    return this.serialised(() =>
      Promise.resolve(
        [...this.known.values()].map((pod) => ({
          name: pod.name,
          netns: pod.netns,
          interface: pod.interface,
          attached: pod.attached !== undefined,
          held: pod.held,
          quiet: pod.quiet,
          flows: pod.attached ? countFlows(selectSlots(this.table, pod.attached.id, {})) : 0,
        })),
      ),
    );
  }

  async apply(name: string, rules: readonly FlowRule[]): Promise<void> {
    const ready = rules.map((rule) => readyRule(rule, this.reader));
    await this.serialised(async () => {
      const pod = this.pod(name);
      if (ready.length === 0) return;
      const { id } = await this.ensureAttached(pod);
      await this.detachUnused(pod, () => this.publish(id, ready));
    });
  }

  async setState(name: string, rules: readonly FlowRule[], state: FlowState): Promise<void> {
    const ready = rules.map((rule) => readyRule(rule, this.reader));
    await this.serialised(async () => {
      const pod = this.pod(name);
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
    return this.serialised(async () => {
      const pod = this.pod(name);
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

  private async mark(name: string, what: 'held' | 'quiet', isOn: boolean): Promise<void> {
    await this.serialised(async () => {
      const pod = this.pod(name);
      if (!isOn && !pod.attached) return;
      const { id, tcx } = await this.ensureAttached(pod);
      pod[what] = isOn;
      this.writePod(id, pod, tcx);
      await this.detachUnused(pod, () => undefined);
    });
  }

  async flows(name?: string): Promise<FlowStatus[]> {
    return this.serialised(() => {
      const pods = name === undefined ? [...this.known.values()] : [this.pod(name)];
      return Promise.resolve(pods.flatMap((pod) => this.statuses(pod)));
    });
  }

  async takeKept(name: string): Promise<KeptPacket[]> {
    return this.serialised(() => {
      const pod = this.pod(name);
      this.ring?.consume();
      return Promise.resolve(pod.attached ? this.kept.take(pod.attached.id, name) : []);
    });
  }

  async replay(name: string, packets: readonly KeptPacket[]): Promise<ReplayResult> {
    const pod = this.pod(name);
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
    await this.serialised(() => {
      clearTimeout(this.recycling);
      this.ring?.close();
      this.table.close();
      closeMaps(this.shared.maps);
      return new Promise<void>((resolve) => this.lock.close(() => resolve()));
    });
  }

  /** One operation at a time: this process is the table's only writer. */
  private serialised<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  private pod(name: string): KnownPod {
    const pod = this.known.get(name);
    if (pod !== undefined) return pod;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `pod ${name}`,
      reason: 'the data plane does not know it',
      remedy: 'Add the pod before its flows; `pods()` lists the known ones',
    });
  }

  private statuses(pod: KnownPod): FlowStatus[] {
    return pod.attached ? flowStatuses(this.table, pod.attached.id, pod.name) : [];
  }

  /** Read back what an earlier agent left: pods with their programs, address pairs. */
  private async adopt(): Promise<void> {
    const { count, keys, values } = this.shared.maps.sal_pods.entries();
    for (let i = 0; i < count; i++) {
      const record = salPod.read(values, i * salPod.size);
      if (record.flags & salPodFlag.USED) await this.adoptPod(keys.readUInt32LE(i * 4), record);
    }
    this.pairs.adopt(this.table.read(this.table.published()));
    for (const pod of this.known.values()) await this.detachUnused(pod, () => undefined);
  }

  private async adoptPod(id: number, record: SalPod): Promise<void> {
    const pod = decodePod(id, record);
    const identity = await native()
      .netnsIdentity(pod.netns)
      .catch(() => undefined);
    if (identity?.inode === pod.inode) {
      await adoptPod(this.context, target(pod));
      this.known.set(pod.name, pod);
      return;
    }
    // The pod ended while no agent was there to see it.
    this.table.remove(selectSlots(this.table, id, {}).numbers);
    await detachPod(this.context, target(pod));
    this.clearPod(id);
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

  /** Free until used: attach with the first rule or hold. */
  private async ensureAttached(pod: KnownPod): Promise<{ id: number; tcx: boolean }> {
    if (pod.attached) return pod.attached;
    const taken = new Set([...this.known.values()].map((other) => other.attached?.id));
    let id = 1;
    while (taken.has(id)) id++;
    if (id >= salLimit.PODS_MAX)
      throw new ServalError('ERR_TABLE_FULL', {
        subject: `pod ${pod.name}`,
        reason: `${salLimit.PODS_MAX - 1} pods of this node have programs attached already`,
        remedy: 'Wait until flows of other pods have ended',
      });
    const attached = { id, tcx: this.tcx };
    // The record comes first: a kill right after it leaves something to clean up, not something unknown.
    this.writePod(id, pod, attached.tcx);
    pod.attached = attached;
    try {
      await attachPod(this.context, target(pod));
    } catch (error) {
      delete pod.attached;
      this.clearPod(id);
      throw error;
    }
    return attached;
  }

  /** Do the work, then detach where the pod has neither a rule nor a hold any more. */
  private async detachUnused(pod: KnownPod, work: () => void): Promise<void> {
    try {
      await explained(`pod ${pod.name}`, work);
    } finally {
      if (pod.attached && !pod.held && !pod.quiet && !this.pairs.hasPod(pod.attached.id))
        await this.detach(pod);
    }
  }

  private async detach(pod: KnownPod): Promise<void> {
    if (!pod.attached) return;
    const { id } = pod.attached;
    await explained(`pod ${pod.name}`, () => detachPod(this.context, target(pod)));
    this.clearPod(id);
    this.ring?.consume();
    this.kept.clear(id);
    delete pod.attached;
    pod.held = false;
    pod.quiet = false;
  }

  private writePod(id: number, pod: KnownPod, tcx: boolean): void {
    this.putPod(id, encodePod(pod, tcx));
  }

  private clearPod(id: number): void {
    this.putPod(id, Buffer.alloc(salPod.size));
  }

  private putPod(id: number, value: Buffer): void {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(id);
    this.shared.maps.sal_pods.update(key, value);
  }
}

function absentFlow(pod: string, rule: FlowRule): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `flow ${rule.flowId} of pod ${pod}`,
    reason: 'it has no outbound rule',
    remedy: 'Apply the rule before its state is set',
  });
}
