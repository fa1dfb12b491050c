/**
 * One live migration, step by step (DESIGN.md, Migration protocol). For now a single process drives both ends and all
 * peers; what each step asks of whom is what the agents' protocol will say.
 */
import { mkdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import {
  listFlows,
  prepareStack,
  transfer,
  type Datapath,
  type FlowRule,
  type SocketFlow,
} from '@serval/node-agent';
import type { Pod } from '../lab/index.js';
import { planMove, type MovePlan, type PlanPod } from './plan.js';
import type { Phase } from './timeline.js';
import type { RunningWorkload, Seat, World } from './world.js';

export interface Migration {
  workload: RunningWorkload;
  oldAddress: string;
  phases: Phase[];
  /** how long the workload stood still, ms */
  freezeMs: number;
  /** from the resume until every peer has switched and replayed, ms */
  switchMs: number;
  /** when the last peer had switched, CLOCK_REALTIME in ms */
  switchedAt: number;
  flows: number;
  replayed: number;
}

const nothing: MovePlan = { target: [], peers: new Map(), source: [], unreachable: [] };

/** Time that packets under way get to arrive, and their acknowledgements to return, after the peers hold: a few RTTs. */
const settleMs = 1;

/** Taking the source apart is in no hurry: the processor belongs to the workload and its clients, who have to catch up. */
const beforeCommitMs = 100;

/** Measures phases one after the other. */
class Stopwatch {
  readonly phases: Phase[] = [];
  private readonly begin = performance.now();

  async phase<Result>(name: string, frozen: boolean, work: () => Promise<Result> | Result): Promise<Result> {
    const start = performance.now();
    const result = await work();
    this.phases.push({ name, frozen, startMs: start - this.begin, durationMs: performance.now() - start });
    return result;
  }

  total(names: readonly string[]): number {
    const chosen = this.phases.filter(({ name }) => names.includes(name));
    const ends = chosen.map(({ startMs, durationMs }) => startMs + durationMs);
    return Math.max(...ends) - Math.min(...chosen.map(({ startMs }) => startMs));
  }
}

/** The parties of one migration, and their rules. */
class Parties {
  constructor(
    readonly world: World,
    readonly source: RunningWorkload,
    readonly target: Seat,
    readonly id: bigint,
    private flowIds: { next: bigint },
  ) {}

  nameOf(pod: Pod): string {
    return `demo/${pod.name}`;
  }

  async join(pod: Pod): Promise<Datapath> {
    const datapath = this.world.datapathOf(pod);
    await datapath.addPod({ name: this.nameOf(pod), netns: pod.netns, interface: pod.interface });
    return datapath;
  }

  private async known(pod: Pod): Promise<PlanPod> {
    const datapath = await this.join(pod);
    return { name: this.nameOf(pod), flows: await datapath.flows(this.nameOf(pod)) };
  }

  /** The rules that these sockets need, everywhere. */
  async plan(sockets: readonly SocketFlow[]): Promise<MovePlan> {
    const { pod } = this.target;
    const others = this.world.lab.pods.filter((other) => other !== pod && other !== this.source.pod);
    const peers = new Map<string, PlanPod>();
    for (const peer of others) {
      const known = await this.known(peer);
      for (const address of [peer.address4, peer.address6]) peers.set(address, known);
    }
    return planMove({
      migration: this.id,
      sockets,
      source: await this.known(this.source.pod),
      targetAddress: (old) => (old.includes(':') ? pod.address6 : pod.address4),
      peerAt: (address) => peers.get(address),
      nextFlowId: () => this.flowIds.next++,
    });
  }

  /** For each peer pod at once. */
  async eachPeer<Result>(
    plan: MovePlan,
    work: (datapath: Datapath, pod: string, rules: FlowRule[]) => Promise<Result>,
  ): Promise<Result[]> {
    const pods = new Map(this.world.lab.pods.map((pod) => [this.nameOf(pod), pod]));
    return Promise.all(
      [...plan.peers].map(([name, rules]) => work(this.world.datapathOf(pods.get(name) as Pod), name, rules)),
    );
  }
}

const flowIds = { next: 1n };
let migrations = 0n;

/** Move a workload with its connections. On failure before the release the source runs on, its connections with it. */
export async function migrate(world: World, source: RunningWorkload, host: string): Promise<Migration> {
  // Everybody waits for this: it goes before the clients, who keep both processors busy.
  setPriority(constants.priority.PRIORITY_HIGH);
  try {
    return await moveWorkload(world, source, host);
  } finally {
    setPriority(constants.priority.PRIORITY_NORMAL);
  }
}

async function moveWorkload(world: World, source: RunningWorkload, host: string): Promise<Migration> {
  const watch = new Stopwatch();
  const target = await watch.phase('target pod', false, () => world.seat(host));
  const parties = new Parties(world, source, target, ++migrations, flowIds);
  const prepared = await watch.phase('prepare', false, () => prepare(parties));
  const { plan } = prepared;
  try {
    const late = await holdAndFreeze(parties, prepared, watch);
    const images = await moveImages(parties, watch);
    const restored = await watch.phase('restore', true, () =>
      world.mover.restore({ ...target, name: target.pod.name, pausePid: target.pod.pausePid }, images),
    );
    const workload = {
      ...target,
      workload: {
        ...source.workload,
        name: parties.nameOf(target.pod),
        pausePid: target.pod.pausePid,
        pid: restored.pid,
        cgroup: target.cgroup,
      },
    };
    const replayed = await switchOver(parties, [plan, late], workload, watch);
    const switchedAt = performance.timeOrigin + performance.now();
    await new Promise((resolve) => setTimeout(resolve, beforeCommitMs));
    await watch.phase('commit', false, () => commit(parties, [plan, late]));
    return {
      workload,
      oldAddress: source.pod.address4,
      phases: watch.phases,
      freezeMs: watch.total(['freeze', 'dump', 'transfer', 'restore', 'resume']),
      switchMs: watch.total(['resume', 'switch', 'replay']),
      switchedAt,
      flows: plan.target.length + late.target.length,
      replayed,
    };
  } catch (error) {
    await rollBack(parties, plan);
    throw error;
  }
}

interface Prepared {
  plan: MovePlan;
  /** peers' rules whose outbound half waits already: a hold is one store for each; the others are of flows that have moved */
  waiting: ReadonlySet<FlowRule>;
}

/** Target first, then peers: a peer's packet that met the target without rules would be answered with a reset. */
async function prepare(parties: Parties): Promise<Prepared> {
  const { source, target } = parties;
  const plan = await parties.plan(await listFlows(source.pod.netns));
  refuseUnreachable(plan);
  const identities = new Set(plan.target.map((rule) => rule.identity.local.address));
  await prepareStack(target.pod.netns, [...identities, source.pod.address4]);
  const atTarget = await parties.join(target.pod);
  await atTarget.apply(parties.nameOf(target.pod), plan.target);
  await atTarget.holdPod(parties.nameOf(target.pod), true);
  await (await parties.join(source.pod)).apply(parties.nameOf(source.pod), pending(plan.source));
  const waiting = new Set<FlowRule>();
  await parties.eachPeer(plan, async (datapath, pod, rules) => {
    await datapath.apply(pod, pending(rules));
    const flows = (await datapath.flows(pod)).filter(({ state }) => state === 'pending');
    const ids = new Set(flows.map(({ flowId }) => flowId));
    for (const rule of rules) if (ids.has(rule.flowId)) waiting.add(rule);
  });
  return { plan, waiting };
}

function pending(rules: readonly FlowRule[]): FlowRule[] {
  return rules.map((rule) => ({ ...rule, state: 'pending' }));
}

function refuseUnreachable(plan: MovePlan): void {
  const [first] = plan.unreachable;
  if (first === undefined) return;
  throw new ServalError('ERR_UNSUPPORTED', {
    subject: `flow to ${first.tuple.remote.address}`,
    reason: 'no Serval runs where it ends',
    remedy: 'Run Serval on that host, or accept that this connection is lost',
  });
}

/**
 * Peers hold before the source freezes: from then on nothing new is on its way, and what is on its way still arrives
 * and is acknowledged. So nothing is lost that a retransmission timer would have to bring back. Returns the plan for
 * the connections that have come since prepare.
 */
async function holdAndFreeze(
  parties: Parties,
  { plan, waiting }: Prepared,
  watch: Stopwatch,
): Promise<MovePlan> {
  const { world, source, target } = parties;
  const atSource = world.datapathOf(source.pod);
  await watch.phase('hold', false, async () => {
    await parties.eachPeer(plan, async (datapath, pod, rules) => {
      const isWaiting = (rule: FlowRule): boolean => waiting.has(rule);
      await datapath.setState(pod, rules.filter(isWaiting), 'held');
      await datapath.apply(
        pod,
        rules.filter((rule) => !isWaiting(rule)),
      );
    });
    await new Promise((resolve) => setTimeout(resolve, settleMs));
  });
  return watch.phase('freeze', true, async () => {
    await world.mover.freeze(source.workload);
    // A frozen process's kernel is awake: the hold must stand before the dump reads the sockets.
    await atSource.holdPod(parties.nameOf(source.pod), true);
    const known = new Set(plan.source.map((rule) => JSON.stringify(rule.identity)));
    const sockets = (await listFlows(source.pod.netns)).filter(
      ({ tuple }) => !known.has(JSON.stringify(tuple)),
    );
    const late: MovePlan = sockets.length === 0 ? nothing : await parties.plan(sockets);
    if (late === nothing) return late;
    await world.datapathOf(target.pod).apply(parties.nameOf(target.pod), late.target);
    await parties.eachPeer(late, (datapath, pod, rules) => datapath.apply(pod, rules));
    return late;
  });
}

async function moveImages(parties: Parties, watch: Stopwatch): Promise<string> {
  const { world, source } = parties;
  const dumped = join(world.imagesDir, `${parties.id}-source`);
  const carried = join(world.imagesDir, `${parties.id}-target`);
  mkdirSync(dumped);
  mkdirSync(carried);
  await watch.phase('dump', true, () => world.mover.dump(source.workload, dumped));
  await watch.phase('transfer', true, () => transfer(dumped, carried));
  return carried;
}

/** The opener speaks first: peers replay as soon as they have switched. */
async function switchOver(
  parties: Parties,
  plans: readonly MovePlan[],
  restored: RunningWorkload,
  watch: Stopwatch,
): Promise<number> {
  const { world, target } = parties;
  const atTarget = world.datapathOf(target.pod);
  const name = parties.nameOf(target.pod);
  await watch.phase('resume', true, async () => {
    for (const plan of plans) await atTarget.setState(name, plan.target, 'active');
    await atTarget.holdPod(name, false);
    world.mover.resume({ ...restored.workload });
  });
  await watch.phase('switch', false, async () => {
    for (const plan of plans)
      await parties.eachPeer(plan, (datapath, pod, rules) => datapath.setState(pod, rules, 'active'));
  });
  return watch.phase('replay', false, async () => {
    const replay = async (datapath: Datapath, pod: string): Promise<number> =>
      (await datapath.replay(pod, await datapath.takeKept(pod))).sent;
    const byPeers = await Promise.all(plans.map((plan) => parties.eachPeer(plan, replay)));
    // Data that the restored sockets have sent into the target's hold; their probes have been answered by the above.
    const data = (await atTarget.takeKept(name)).filter((packet) => packet.kind !== 'acknowledgement');
    const byTarget = (await atTarget.replay(name, data)).sent;
    return byPeers.flat().reduce((sum, count) => sum + count, byTarget);
  });
}

/** The source's hold stands until its namespace is gone: a dying source says goodbye to every peer. */
async function commit(parties: Parties, plans: readonly MovePlan[]): Promise<void> {
  const { world, source } = parties;
  await world.vacate(source);
  for (const plan of plans)
    await parties.eachPeer(plan, async (datapath, pod) => {
      const earlier = new Set(
        (await datapath.flows(pod)).map((flow) => flow.migration).filter((id) => id < parties.id),
      );
      for (const migration of earlier) await datapath.remove(pod, { migration });
    });
}

/** Before the release: the source thaws, peers send to it again, the target is thrown away. */
async function rollBack(parties: Parties, plan: MovePlan): Promise<void> {
  const { world, source, target } = parties;
  const earlier = new Map(plan.peers);
  await world.datapathOf(source.pod).holdPod(parties.nameOf(source.pod), false);
  world.mover.thaw(source.workload);
  await parties.eachPeer({ ...plan, peers: earlier }, async (datapath, pod) => {
    const kept = await datapath.takeKept(pod);
    await datapath.remove(pod, { migration: parties.id });
    await datapath.replay(pod, kept);
  });
  await world.vacate(target);
}
