/** What the protocol asks of the node that a workload comes to. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import type { Datapath, FlowRule } from '../datapath/types.js';
import type { GatewayRoutes } from '../host/gateway-routes.js';
import { prepareStack } from '../host/moved-stack.js';
import type { Mover, MoverPlace } from '../movers/mover.js';
import type { TargetWork } from '../protocol/effects.js';
import {
  targetFlowKey,
  type TargetAddresses,
  type TargetFlow,
  type WorkloadName,
} from '../protocol/messages.js';
import type { KeptShelf } from './kept-shelf.js';
import { OneAtATime } from './one-at-a-time.js';
import { targetRule } from './plan.js';
import type { AgentPod, PodRegistry } from './pods.js';
import type { PortGuard } from './port-guard.js';
import { nameOf, sandboxOf, type Sandbox, type SandboxMaker } from './sandbox.js';
import { collectYoungSoon } from './young-heap.js';

/** A pod that waits, as it is written down: a restarted agent must be able to resume it, or to take it away. */
export interface WaitingPod {
  workload: WorkloadName;
  sandbox: Sandbox;
  mover: string;
  identityAddresses: string[];
  /** root of the restored process tree */
  pid?: number;
  /** it has arrived, by a move of this epoch: until its ServalPod is written this record stands for that */
  epoch?: number;
}

export interface TargetDeps {
  datapath: Datapath;
  pods: PodRegistry;
  kept: KeptShelf;
  routes: GatewayRoutes;
  ports: PortGuard;
  sandboxes: SandboxMaker | undefined;
  imagesDir: string;
  nextFlowId: () => bigint;
  moverOf: (name: string) => Mover;
  /** durable, by migration */
  waiting: {
    get(migration: string): WaitingPod | undefined;
    put(migration: string, pod: WaitingPod): Promise<void>;
    remove(migration: string): Promise<void>;
  };
  /** the workload runs here now: its record is written */
  arrived: (pod: AgentPod) => Promise<void>;
}

type Request<Name extends keyof TargetWork> = TargetWork[Name]['request'];
type Result<Name extends keyof TargetWork> = Promise<TargetWork[Name]['result']>;

/** A discard is asked for at once, while a restore may be under way: it waits for that. */
export class TargetWorks {
  private readonly turns = new OneAtATime();
  /** resumed: what comes to their flows now is active at once */
  private readonly running = new Set<string>();
  /** rules of each migration, by the flow's name */
  private readonly rules = new Map<string, Map<string, FlowRule>>();

  constructor(private readonly deps: TargetDeps) {}

  async makePod(migration: string, workload: string, request: Request<'makePod'>): Result<'makePod'> {
    const sandbox = this.deps.waiting.get(migration)?.sandbox ?? (await this.sandbox(migration, request));
    const { mover, addresses } = request;
    await this.deps.waiting.put(migration, {
      workload: request.workload,
      sandbox,
      mover,
      identityAddresses: addresses,
    });
    const pod = nameOf(sandbox, workload);
    await this.deps.pods.put({
      name: pod,
      netns: sandbox.netns,
      interfaces: sandbox.interfaces,
      addresses: addressList(sandbox.addresses),
      hostNetwork: false,
      trackUdp: request.image['trackUdp'] === true,
    });
    await prepareStack(sandbox.netns, foreignTo(sandbox, addresses));
    await this.deps.datapath.holdPod(pod, true);
    return { addresses: sandbox.addresses };
  }

  async applyRules(
    migration: string,
    workload: string,
    { flows }: Request<'applyRules'>,
  ): Result<'applyRules'> {
    const known = await this.known(migration, workload);
    const gone = flows.remove
      .map((flow) => known.get(targetFlowKey(flow)))
      .filter((rule) => rule !== undefined);
    if (gone.length > 0)
      await this.deps.datapath.remove(workload, {
        migration: BigInt(`0x${migration}`),
        flowIds: gone.map(({ flowId }) => flowId),
      });
    for (const flow of flows.remove) known.delete(targetFlowKey(flow));
    const rules = flows.add.map((flow) => {
      const flowId = known.get(targetFlowKey(flow))?.flowId ?? this.deps.nextFlowId();
      return targetRule(flow, BigInt(`0x${migration}`), flowId, this.running.has(migration));
    });
    await this.deps.datapath.apply(workload, rules);
    const netns = this.deps.pods.get(workload)?.netns;
    if (netns !== undefined) {
      await this.deps.routes.leadByGateway(netns, leftAddresses(flows.add));
      this.deps.ports.reserve(
        netns,
        flows.add.map(({ wire }) => wire.local.port),
      );
    }
    flows.add.forEach((flow, index) => known.set(targetFlowKey(flow), rules[index] as FlowRule));
    return {};
  }

  async restore(migration: string, workload: string): Result<'restore'> {
    return this.turns.run(migration, async () => {
      const waiting = this.waiting(migration);
      const mover = this.deps.moverOf(waiting.mover);
      collectYoungSoon();
      const pid = await mover.restore(migration, place(workload, waiting), this.imagesDir(migration));
      if (pid !== undefined) await this.deps.waiting.put(migration, { ...waiting, pid });
      return {};
    });
  }

  /** Rules first: a packet that met the pod without them would be answered with a reset. */
  async open(migration: string, workload: string, { epoch }: Request<'open'>): Result<'open'> {
    if (this.hasArrived(migration, workload, epoch)) return {};
    const known = await this.known(migration, workload);
    this.running.add(migration);
    await this.deps.datapath.setState(workload, [...known.values()], 'active');
    await this.deps.datapath.holdPod(workload, false);
    return {};
  }

  /** After what goes to the peers at the same time: they would wait for this node's own work. */
  async resume(migration: string, workload: string, { epoch }: Request<'resume'>): Result<'resume'> {
    if (this.hasArrived(migration, workload, epoch)) return {};
    await new Promise((resolve) => setImmediate(resolve));
    const waiting = this.waiting(migration);
    await this.deps.moverOf(waiting.mover).resume(migration, place(workload, waiting));
    this.settle(migration, workload, waiting, epoch);
    return {};
  }

  /** What restored sockets sent into the hold. Their probes need no answer: the peers' replays are one. */
  async replayOwn(_: string, workload: string): Result<'replayOwn'> {
    const packets = await this.deps.kept.take(workload, ({ direction }) => direction === 'egress');
    await this.deps.kept.send(
      workload,
      packets.filter(({ kind }) => kind !== 'acknowledgement'),
    );
    return {};
  }

  async discard(migration: string, workload: string): Result<'discard'> {
    const waiting = this.deps.waiting.get(migration);
    if (waiting !== undefined) this.deps.moverOf(waiting.mover).cancel(migration);
    return this.turns.run(migration, async () => {
      await this.takeAway(migration, workload);
      return {};
    });
  }

  /** Where what the source sends is received. */
  imagesDir(migration: string): string {
    return join(this.deps.imagesDir, `${migration}-carried`);
  }

  /** Asked again after a restart: it runs, and its record is written already. */
  private hasArrived(migration: string, workload: string, epoch: number): boolean {
    const isWaiting = this.deps.waiting.get(migration) !== undefined;
    return this.deps.pods.get(workload)?.workload?.epoch === epoch && !isWaiting;
  }

  private settle(migration: string, workload: string, waiting: WaitingPod, epoch: number): void {
    const trackUdp = this.deps.pods.get(workload)?.trackUdp ?? false;
    const arrived = { ...podOfWaiting({ ...waiting, epoch }), name: workload, trackUdp };
    if (arrived.workload !== undefined) this.deps.pods.occupy(workload, arrived.workload);
    // The ServalPod is written once the clients have caught up; the waiting pod's record stands for it until then, and for
    // longer where it can not be written. Nobody waits for either: the peers come first, also where a disk is full.
    this.deps.waiting.put(migration, { ...waiting, epoch }).catch(() => undefined);
    setTimeout(() => void this.writeArrival(migration, arrived).catch(() => undefined), arrivalMs).unref();
  }

  private async writeArrival(migration: string, arrived: AgentPod): Promise<void> {
    await this.deps.arrived(arrived);
    await this.deps.waiting.remove(migration);
    await rm(this.imagesDir(migration), { recursive: true, force: true });
  }

  private async sandbox(migration: string, { workload }: Request<'makePod'>): Promise<Sandbox> {
    if (this.deps.sandboxes !== undefined) return this.deps.sandboxes.create(migration, workload);
    const declared = this.deps.pods.get(workload.name);
    if (declared !== undefined && declared.workload === undefined) return sandboxOf(declared);
    throw new ServalError('ERR_MOVER', {
      subject: `workload ${workload.name}`,
      reason: 'this node has no pod that waits for it, and no sandbox command to make one',
      remedy: 'Configure `sandbox`, or declare a ServalPod of that name without a process on this node',
    });
  }

  private async takeAway(migration: string, workload: string): Promise<void> {
    this.rules.delete(migration);
    await rm(this.imagesDir(migration), { recursive: true, force: true });
    const waiting = this.deps.waiting.get(migration);
    if (waiting === undefined) return;
    await this.deps.moverOf(waiting.mover).discard(migration, place(workload, waiting));
    // The hold goes last: what was restored may still say something.
    await this.deps.sandboxes?.remove(waiting.sandbox);
    // The source may be a pod of the same name on this very node: only what was made for this migration goes.
    if (this.deps.pods.get(workload)?.netns === waiting.sandbox.netns) await this.deps.pods.remove(workload);
    await this.deps.waiting.remove(migration);
  }

  private waiting(migration: string): WaitingPod {
    const waiting = this.deps.waiting.get(migration);
    if (waiting !== undefined) return waiting;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `migration ${migration}`,
      reason: 'no pod waits for it on this node',
      remedy: 'Start the move again',
    });
  }

  /** Rules of this migration; after a restart they are read back from the data plane. */
  private async known(migration: string, workload: string): Promise<Map<string, FlowRule>> {
    let rules = this.rules.get(migration);
    if (rules === undefined) {
      const owner = BigInt(`0x${migration}`);
      const statuses = await this.deps.datapath.flows(workload, { migration: owner });
      rules = new Map(
        statuses.map(({ protocol, identity, wire, flowId }) => [
          targetFlowKey({ protocol, identity, wire }),
          { flowId, migration: owner, protocol, identity, wire, state: 'held' },
        ]),
      );
      this.rules.set(migration, rules);
      if (statuses.some(({ state }) => state === 'active')) this.running.add(migration);
    }
    return rules;
  }
}

const arrivalMs = 50;

function place(name: string, { sandbox, pid }: WaitingPod): MoverPlace {
  const { pausePid = 0, cgroup = '' } = sandbox;
  return { name, pausePid, cgroup, ...(pid === undefined ? {} : { pid }) };
}

/** As this node knows it: with its workload once that has arrived. */
export function podOfWaiting({
  workload,
  sandbox,
  mover,
  identityAddresses,
  pid,
  epoch,
}: WaitingPod): AgentPod {
  const { netns, interfaces, addresses, pausePid, cgroup } = sandbox;
  const process = pausePid !== undefined &&
    cgroup !== undefined &&
    pid !== undefined && { pausePid, pid, cgroup };
  const pod: AgentPod = {
    name: nameOf(sandbox, workload.name),
    netns,
    interfaces,
    addresses: addressList(addresses),
    hostNetwork: false,
    trackUdp: false,
  };
  if (epoch !== undefined)
    pod.workload = { uid: workload.uid, epoch, mover, identityAddresses, ...(process ? { process } : {}) };
  return pod;
}

export function addressList({ ipv4, ipv6 }: TargetAddresses): string[] {
  return [ipv4, ipv6].filter((address) => address !== undefined);
}

/** Addresses that the waiting pod has on its own already must not be put on `lo`: the workload has come back. */
function foreignTo({ addresses }: Sandbox, identities: readonly string[]): string[] {
  const own = addressList(addresses);
  return identities.filter((address) => !own.includes(address));
}

/** What the workload believes to be its peers' addresses, where they are elsewhere by now. */
function leftAddresses(flows: readonly TargetFlow[]): string[] {
  const left = flows.filter(({ identity, wire }) => identity.remote.address !== wire.remote.address);
  return [...new Set(left.map(({ identity }) => identity.remote.address))];
}
