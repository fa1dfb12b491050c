/** What the protocol asks of the node that a workload leaves. */
import { setTimeout as delay } from 'node:timers/promises';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import type { Datapath, KeptPacket } from '../datapath/types.js';
import { listFlows } from '../host/sockets.js';
import { unfinishedConnections } from '../host/unfinished.js';
import type { Mover, MoverPlace } from '../movers/mover.js';
import { native } from '../native.js';
import type { Plan, SourceWork } from '../protocol/effects.js';
import type { NodeName, Stray, TargetAddresses } from '../protocol/messages.js';
import type { KeptShelf } from './kept-shelf.js';
import { OneAtATime } from './one-at-a-time.js';
import { addressLike, planSource, type OwnFlow } from './plan.js';
import type { AgentPod, PodRegistry } from './pods.js';
import { sandboxOf, type SandboxMaker } from './sandbox.js';
import { collectYoungSoon } from './young-heap.js';

/** Time that packets under way get to arrive, and their acknowledgements to return, after the peers hold: a few RTTs. */
const settleMs = 1;
/**
 * Before anything is held: everybody has been planning and installing rules until now, and whoever had no processor because
 * of that catches up first. On two cores clients of a busy workload were up to 14 ms behind when the hold came.
 */
const calmMs = 25;
/** Taking the source apart is in no hurry: the processor belongs to the workload and its clients, who have to catch up. */
const beforeRetireMs = 100;
/** Longest silence of an unconnected UDP session that still counts as one. */
export const sessionIdleMs = 180_000;

export interface SourceDeps {
  datapath: Datapath;
  pods: PodRegistry;
  kept: KeptShelf;
  sandboxes: SandboxMaker | undefined;
  imagesDir: string;
  quiesceMs: number;
  nodeOf: (address: string) => NodeName | undefined;
  moverOf: (name: string) => Mover;
  sendImages: (target: NodeName, migration: string, dir: string, signal: AbortSignal) => Promise<void>;
  /** a part of a step took so long: performance.now() and milliseconds */
  span: (migration: string, name: string, startMs: number, durationMs: number) => void;
  /** resolves when this pod may be taken apart: in Kubernetes not before the kubelet knows that it is to go */
  mayGo?: (pod: AgentPod) => Promise<void>;
  /** the workload runs elsewhere, at these addresses: whoever asks for it here is to hear of that; never rejects */
  leaving: (pod: AgentPod, addresses: TargetAddresses) => Promise<void>;
  /** the workload has left: its record goes */
  left: (workload: string) => Promise<void>;
}

type Request<Name extends keyof SourceWork> = SourceWork[Name]['request'];
type Result<Name extends keyof SourceWork> = Promise<SourceWork[Name]['result']>;

/**
 * One per node; every call says which migration and which workload it is about. A thaw is asked for at once, while a dump
 * may be under way: it waits for that, since sockets that are being dumped must stay held.
 */
export class SourceWorks {
  private readonly turns = new OneAtATime();
  private readonly transfers = new Map<string, AbortController>();

  constructor(private readonly deps: SourceDeps) {}

  async plan(_: string, workload: string, { addresses }: Request<'plan'>): Result<'plan'> {
    return this.planNow(this.pod(workload), addresses);
  }

  /** New connections wait; those that are half made get a bounded moment, since CRIU can not carry them. */
  async quiesce(migration: string, workload: string): Result<'quiesce'> {
    const pod = this.pod(workload);
    await this.mover(pod).ready(migration);
    collectYoungSoon();
    await delay(calmMs);
    await this.deps.datapath.quiescePod(workload, true);
    const end = performance.now() + this.deps.quiesceMs;
    let left = await unfinishedConnections(pod.netns);
    while (left > 0 && performance.now() < end) {
      await delay(1);
      left = await unfinishedConnections(pod.netns);
    }
    return { left };
  }

  async unquiesce(_: string, workload: string): Result<'unquiesce'> {
    if (this.deps.pods.get(workload) === undefined) return {};
    await this.deps.datapath.quiescePod(workload, false);
    await this.letIn(workload);
    return {};
  }

  /** Stands still, and its pod is held: a frozen process's kernel is awake. Then the flows are final. */
  async freeze(migration: string, workload: string, { addresses }: Request<'freeze'>): Result<'freeze'> {
    const pod = this.pod(workload);
    return this.turns.run(migration, async () => {
      await delay(settleMs);
      await this.mover(pod).freeze(migration, place(pod));
      await this.deps.datapath.holdPod(workload, true);
      return this.planNow(pod, addresses);
    });
  }

  async move(migration: string, workload: string, { target }: Request<'move'>): Result<'move'> {
    const pod = this.pod(workload);
    const dir = join(this.deps.imagesDir, `${migration}-dump`);
    const transfer = new AbortController();
    this.transfers.set(migration, transfer);
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const dumped = await this.turns.run(migration, () =>
        this.timed(migration, 'dump', () => this.mover(pod).dump(migration, place(pod), dir)),
      );
      if (dumped)
        await this.timed(migration, 'transfer', () =>
          this.deps.sendImages(target, migration, dir, transfer.signal),
        );
    } finally {
      this.transfers.delete(migration);
      // In the background: nobody waits for it, and the images are the workload's memory.
      void rm(dir, { recursive: true, force: true }).catch(() => undefined);
    }
    return {};
  }

  async takeStrays(_: string, workload: string, { addresses }: Request<'takeStrays'>): Result<'takeStrays'> {
    if (this.deps.pods.get(workload) === undefined) return { strays: [] };
    const packets = await this.deps.kept.take(workload, isOpening);
    return { strays: packets.flatMap((packet) => this.stray(packet, addresses)) };
  }

  /** Rollback: the workload runs on with what it had. */
  async thaw(migration: string, workload: string): Result<'thaw'> {
    const pod = this.deps.pods.get(workload);
    if (pod?.workload === undefined) return {};
    this.mover(pod).cancel(migration);
    this.transfers.get(migration)?.abort();
    return this.turns.run(migration, async () => {
      await this.deps.datapath.holdPod(workload, false);
      await this.deps.datapath.quiescePod(workload, false);
      await this.mover(pod).thaw(migration, place(pod));
      await this.letIn(workload);
      return {};
    });
  }

  /** The hold stands until the namespace is gone: a dying source says goodbye to every peer. */
  async retire(
    migration: string,
    workload: string,
    { epoch, addresses }: Request<'retire'>,
  ): Result<'retire'> {
    const pod = this.deps.pods.get(workload);
    // Asked again after a restart: a pod of this name without a workload waits for it, and one that moved since is back.
    if (pod?.workload === undefined || pod.workload.epoch >= epoch) return {};
    const told = this.deps.leaving(pod, addresses);
    await delay(beforeRetireMs);
    await this.deps.mayGo?.(pod);
    await this.mover(pod).discard(migration, place(pod));
    await this.deps.sandboxes?.leave(sandboxOf(pod));
    this.deps.kept.forget(workload);
    await this.deps.pods.remove(workload);
    await told;
    await this.deps.left(workload);
    return {};
  }

  /** Opening segments that were held come in after all, and those of the workload itself go out. */
  private async letIn(workload: string): Promise<void> {
    const packets = await this.deps.kept.take(workload, () => true);
    const inbound = packets.filter(isOpening).map(({ packet }) => packet);
    // Sent from the host's own namespace: its routes lead to the pod.
    if (inbound.length > 0) await native().inject('/proc/self/ns/net', inbound);
    await this.deps.kept.send(
      workload,
      packets.filter(({ direction }) => direction === 'egress'),
    );
  }

  private async planNow(pod: AgentPod, addresses: TargetAddresses): Promise<Plan> {
    return planSource({
      flows: await ownFlows(this.deps.datapath, pod),
      rules: await this.deps.datapath.flows(pod.name),
      addresses,
      nodeOf: this.deps.nodeOf,
    });
  }

  private stray(
    { protocol, tuple, packet }: KeptPacket,
    addresses: TargetAddresses,
  ): Array<{ node: NodeName; stray: Stray }> {
    const address = addressLike(tuple.local.address, addresses);
    const node = this.deps.nodeOf(tuple.remote.address);
    if (address === undefined || node === undefined) return [];
    const next = { address, port: tuple.local.port };
    const flow = { protocol, now: tuple.local, next, peer: tuple.remote };
    return [{ node, stray: { flow, packet: packet.toString('base64') } }];
  }

  private async timed<Value>(migration: string, name: string, work: () => Promise<Value>): Promise<Value> {
    const start = performance.now();
    const value = await work();
    this.deps.span(migration, name, start, performance.now() - start);
    return value;
  }

  private pod(workload: string): AgentPod {
    const pod = this.deps.pods.get(workload);
    if (pod?.workload !== undefined) return pod;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `workload ${workload}`,
      reason: 'it does not run on this node, or its pod names no workload',
      remedy: 'See `serval pods`, and ask the agent of the node that hosts it',
    });
  }

  private mover(pod: AgentPod): Mover {
    return this.deps.moverOf(pod.workload?.mover ?? 'criu');
  }
}

/** The flows of a pod, in identity: what its sockets say, and sessions of unconnected UDP where they are tracked. */
export async function ownFlows(datapath: Datapath, pod: AgentPod): Promise<OwnFlow[]> {
  const sockets = await listFlows(pod.netns);
  if (!pod.trackUdp) return sockets;
  return [...sockets, ...(await datapath.sessions(pod.name, sessionIdleMs))];
}

/** An opening segment from outside: one that a replay in the name of its sender can bring to the target. */
function isOpening({ direction, kind }: KeptPacket): boolean {
  return direction === 'ingress' && kind === 'segment';
}

export function place(pod: AgentPod): MoverPlace {
  const { pausePid = 0, cgroup = '', pid } = pod.workload?.process ?? {};
  return { name: pod.name, pausePid, cgroup, ...(pid === undefined ? {} : { pid }) };
}
