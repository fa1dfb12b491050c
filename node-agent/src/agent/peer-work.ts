/** What the protocol asks of a node that has the other ends of a moving workload's flows. */
import { setTimeout as delay } from 'node:timers/promises';
import { withEnds } from '../datapath/kept.js';
import type { Datapath, FlowRule, FlowStatus, FlowTuple, KeptPacket } from '../datapath/types.js';
import { listFlows, type WantedSockets } from '../host/sockets.js';
import { nativeTranslations } from '../host/translations.js';
import { native } from '../native.js';
import type { PeerWork } from '../protocol/effects.js';
import { flowKey, type PeerFlow, type Stray } from '../protocol/messages.js';
import type { KeptShelf } from './kept-shelf.js';
import {
  endedRules,
  migrationId,
  planPeer,
  recoverPeerRules,
  tupleName,
  type PeerPod,
  type PeerRule,
} from './plan.js';
import type { PodRegistry } from './pods.js';
import type { PortGuard } from './port-guard.js';
import type { StaleRoutes } from './stale-routes.js';
import { collectYoungSoon } from './young-heap.js';

export interface PeerDeps {
  datapath: Datapath;
  pods: PodRegistry;
  kept: KeptShelf;
  staleRoutes: StaleRoutes;
  ports: PortGuard;
  nextFlowId: () => bigint;
  /** a migration of which this node is a peer, and which was not switched here yet */
  isPending: (migration: string) => boolean;
  /** the workload of a migration of which this node is the target as well: its pod's rules are not a peer's */
  arriving: (migration: string) => string;
}

/** So long whoever waited has the processors to himself, where more than so many flows come after. */
const wakeMs = 5;
const manyFlows = 500;

type Request<Name extends keyof PeerWork> = PeerWork[Name]['request'];
type Result<Name extends keyof PeerWork> = Promise<PeerWork[Name]['result']>;

/** Rules of one migration, by pod and by the wire to come. */
type MigrationRules = Map<string, Map<string, PeerRule>>;

export class PeerWorks {
  private readonly migrations = new Map<string, MigrationRules>();
  /** migrations of which the flows are held now, and those of which they were switched */
  private readonly held = new Set<string>();
  private readonly flipped = new Set<string>();
  /** of these nothing that was known is left to be switched */
  private readonly complete = new Set<string>();

  constructor(private readonly deps: PeerDeps) {
    // Its rules went with it, and whoever has its name next has none of them.
    deps.pods.onGone(({ name }) => this.migrations.forEach((pods) => pods.delete(name)));
  }

  async install(migration: string, { flows }: Request<'install'>): Result<'install'> {
    const { unknown, added } = await this.add(await this.rulesOf(migration), migration, flows);
    await this.eachPod(added, (pod, rules) => this.rehearse(pod, [...rules.values()]));
    return { unknown };
  }

  /** The first hold is of all flows, later ones of those that came: who is held already has kept something. */
  async hold(migration: string, { flows }: Request<'hold'>): Result<'hold'> {
    const pods = await this.rulesOf(migration);
    await this.remove(pods, migration, flows.remove);
    const { unknown, added } = await this.add(pods, migration, flows.add);
    const rules = this.held.has(migration) ? added : pods;
    this.held.add(migration);
    await this.eachPod(rules, async (pod, ofPod) => {
      await this.setHeld(pod, [...ofPod.values()], true);
    });
    collectYoungSoon();
    return { unknown };
  }

  async unhold(migration: string): Result<'unhold'> {
    const pods = await this.rulesOf(migration);
    this.held.delete(migration);
    if (this.flipped.has(migration)) return {};
    await this.eachPod(pods, async (pod, rules) => {
      await this.setHeld(pod, [...rules.values()], false);
      await this.replay(pod, [...rules.values()], wireUntilNow);
    });
    return {};
  }

  /** What is known first: rules for connections that nobody knew of take 3 to 5 ms, and all clients would wait for those. */
  async flip(migration: string, { strays }: Request<'flip'>): Result<'flip'> {
    const pods = await this.rulesOf(migration);
    const news = strays.filter(({ flow }) => !this.knows(pods, flow));
    this.flipped.add(migration);
    let replayed = this.complete.has(migration) ? 0 : await this.flipRules(pods);
    this.complete.add(migration);
    if (news.length === 0) return { replayed };
    const flows = news.map(({ flow }) => flow);
    replayed += await this.flipRules((await this.add(pods, migration, flows)).added);
    return { replayed: replayed + (await this.sendStrays(pods, news)) };
  }

  /**
   * First the flows that somebody waits on, and what was kept of those. Of 5,000 flows that had moved before, 50 of them at work,
   * the 4,950 others took 14 to 35 ms, in which those waited too; and 10 ms of both processors, in which whoever had been woken
   * waited.
   */
  private async flipRules(pods: MigrationRules): Promise<number> {
    let replayed = 0;
    await this.eachPod(pods, async (pod, rules) => {
      const all = [...rules.values()];
      const waiting = await this.deps.kept.waiting(pod);
      const [first, others] = [true, false].map((isFirst) =>
        all.filter(({ rule }) => waiting.has(rule.flowId) === isFirst),
      ) as [PeerRule[], PeerRule[]];
      replayed += await this.flipSome(pod, first);
      if (first.length > 0 && others.length > manyFlows) await delay(wakeMs);
      replayed += await this.flipSome(pod, others);
      const agentPod = this.deps.pods.get(pod);
      if (agentPod !== undefined) this.deps.staleRoutes.left(agentPod, leftAddresses(all));
    });
    return replayed;
  }

  /** Flows that have never moved need one store each, the others another outbound half. */
  private async flipSome(pod: string, rules: readonly PeerRule[]): Promise<number> {
    if (rules.length === 0) return 0;
    const moved = rules.filter(({ previous }) => previous !== undefined);
    const first = rules.filter(({ previous }) => previous === undefined).map(({ rule }) => rule);
    await this.deps.datapath.setState(pod, first, 'active');
    await this.deps.datapath.apply(
      pod,
      moved.map(({ rule }) => ({ ...rule, state: 'active' })),
    );
    return this.replay(pod, rules, ({ rule }) => rule.wire);
  }

  async drop(migration: string): Result<'drop'> {
    await this.eachPod(await this.rulesOf(migration), async (pod, rules) => {
      const moved = [...rules.values()].flatMap(({ previous }) => previous ?? []);
      await this.deps.datapath.setState(pod, moved, 'active');
      await this.deps.datapath.remove(pod, { migration: BigInt(`0x${migration}`) });
      await this.replay(pod, [...rules.values()], wireUntilNow);
    });
    this.end(migration);
    return {};
  }

  /**
   * Packets that were under way from earlier places have arrived by now. A later move may have begun or be over: neither
   * its pending hop nor the one that packets follow is touched.
   */
  async dropEarlier(migration: string): Result<'dropEarlier'> {
    const own = BigInt(`0x${migration}`);
    await this.eachPod(await this.rulesOf(migration), async (pod, rules) => {
      const mine = flowIds(rules.values());
      const earlier = new Map<bigint, bigint[]>();
      for (const { flowId, migration: owner, state } of await this.deps.datapath.flows(pod)) {
        const isEarlier = owner !== own && state === 'inbound' && !this.deps.isPending(migrationId(owner));
        if (isEarlier && mine.has(flowId)) earlier.set(owner, [...(earlier.get(owner) ?? []), flowId]);
      }
      for (const [owner, ids] of earlier)
        await this.deps.datapath.remove(pod, { migration: owner, flowIds: ids });
    });
    this.end(migration);
    return {};
  }

  async forget(migration: string, { flows, unlessAlive }: Request<'forget'>): Result<'forget'> {
    if (unlessAlive === true) return this.forgetDead(migration, flows);
    const ended = new Set(flows.map(flowKey));
    const own = BigInt(`0x${migration}`);
    for (const pod of this.deps.pods.all()) {
      const ids = (await this.deps.datapath.flows(pod.name, { migration: own }))
        .filter((rule) => ended.has(flowKey(seenByWorkload(rule))))
        .map(({ flowId }) => flowId);
      // Only what this migration owns: a later one tells of its own hops itself.
      if (ids.length > 0) await this.deps.datapath.remove(pod.name, { migration: own, flowIds: ids });
    }
    return {};
  }

  /**
   * As the source says, which named them by where they were. Only what a socket table can tell: not datagrams, nor what
   * the node's own NAT has changed.
   */
  private async forgetDead(migration: string, flows: readonly PeerFlow[]): Result<'forget'> {
    const named = new Set(flows.map(keyAt));
    const own = BigInt(`0x${migration}`);
    for (const { name, netns, hostNetwork } of flows.length === 0 ? [] : this.deps.pods.all()) {
      const rules = (await this.deps.datapath.flows(name, { migration: own })).filter(
        (rule) => rule.protocol === 'tcp' && named.has(ruleKey(rule)),
      );
      if (rules.length === 0 || hostNetwork) continue;
      const ids = endedRules(rules, await listFlows(netns)).map(({ flowId }) => flowId);
      if (ids.length > 0) await this.deps.datapath.remove(name, { migration: own, flowIds: ids });
    }
    return {};
  }

  /** A pod may go at any moment, also in the middle of this: then there is nothing left to do for it. */
  private async eachPod(
    pods: MigrationRules,
    work: (pod: string, rules: Map<string, PeerRule>) => Promise<void>,
  ): Promise<void> {
    const one = async ([pod, rules]: [string, Map<string, PeerRule>]): Promise<void> => {
      try {
        await work(pod, rules);
      } catch (error) {
        if (pods.has(pod) && this.deps.pods.get(pod) !== undefined) throw error;
      }
    };
    await Promise.all([...pods].map(one));
  }

  private end(migration: string): void {
    this.migrations.delete(migration);
    this.held.delete(migration);
    this.flipped.delete(migration);
    this.complete.delete(migration);
  }

  private async add(
    pods: MigrationRules,
    migration: string,
    flows: readonly PeerFlow[],
  ): Promise<{ unknown: number[]; added: MigrationRules }> {
    const added: MigrationRules = new Map();
    if (flows.length === 0) return { unknown: [], added };
    const [calledBy, atPods] = await Promise.all([nativeTranslations(), this.peerPods(flows)]);
    const plan = planPeer({
      migration: BigInt(`0x${migration}`),
      flows,
      podAt: (address) => atPods.get(address),
      isHere: (address) => this.deps.pods.at(address) !== undefined,
      calledBy,
      nextFlowId: this.deps.nextFlowId,
      isPending: (owner) => this.deps.isPending(migrationId(owner)),
    });
    for (const [pod, planned] of plan.rules)
      added.set(pod, new Map(planned.map((rule) => [ruleKey(rule.rule), rule])));
    await this.eachPod(added, async (pod, rules) => {
      await this.deps.datapath.apply(
        pod,
        [...rules.values()].map(({ rule }) => rule),
      );
      pods.set(pod, new Map([...(pods.get(pod) ?? []), ...rules]));
      const netns = this.deps.pods.get(pod)?.netns;
      const ports = [...rules.values()].map(({ rule }) => rule.wire.local.port);
      if (netns !== undefined) this.deps.ports.reserve(netns, ports);
    });
    const gone = [...plan.rules.keys()].filter((pod) => !pods.has(pod));
    return { unknown: [...plan.unknown, ...gone.flatMap((pod) => plan.indices.get(pod) ?? [])], added };
  }

  private async peerPods(flows: readonly PeerFlow[]): Promise<Map<string, PeerPod>> {
    const pods = new Map<string, PeerPod>();
    const byName = new Map<string, PeerPod>();
    const places = new Set(flows.map(({ now }) => now.address));
    const localPorts = new Set(flows.map(({ peer }) => peer.port));
    const protocols = new Set(flows.map(({ protocol }) => protocol));
    for (const address of new Set(flows.map(({ peer }) => peer.address))) {
      const pod = this.deps.pods.at(address);
      if (pod === undefined) continue;
      let known = byName.get(pod.name);
      if (known === undefined) {
        const { name, netns, hostNetwork } = pod;
        const [rules, sockets] = await Promise.all([
          this.deps.datapath.flows(name, { localPorts }),
          otherSockets(netns, { localPorts, protocols }, places),
        ]);
        byName.set(name, (known = { name, hostNetwork, rules, sockets }));
      }
      pods.set(address, known);
    }
    return pods;
  }

  private async remove(pods: MigrationRules, migration: string, flows: readonly PeerFlow[]): Promise<void> {
    if (flows.length === 0) return;
    const gone = new Set(flows.map(keyAt));
    await this.eachPod(pods, async (pod, rules) => {
      const mine = [...rules].filter(([key]) => gone.has(key));
      if (mine.length === 0) return;
      if (this.held.has(migration))
        await this.setHeld(
          pod,
          mine.map(([, rule]) => rule),
          false,
        );
      await this.deps.datapath.remove(pod, {
        migration: BigInt(`0x${migration}`),
        flowIds: mine.map(([, { rule }]) => rule.flowId),
      });
      for (const [key] of mine) rules.delete(key);
    });
  }

  /** A flow that has moved before is held by the rule that its packets follow now. */
  private async setHeld(pod: string, rules: readonly PeerRule[], held: boolean): Promise<void> {
    const moved = rules.flatMap(({ previous }) => previous ?? []);
    const first = rules.filter(({ previous }) => previous === undefined).map(({ rule }) => rule);
    await this.deps.datapath.setState(pod, first, held ? 'held' : 'pending');
    await this.deps.datapath.setState(pod, moved, held ? 'held' : 'active');
  }

  /**
   * What a switch runs, without any effect, while nobody waits: the engine compiles it, and the kernel has made a thread in
   * the pod's namespace before. The first switch of a process took 15 ms longer at each peer.
   */
  private async rehearse(pod: string, rules: readonly PeerRule[]): Promise<void> {
    const pending = rules.filter(({ previous }) => previous === undefined).map(({ rule }) => rule);
    const netns = this.deps.pods.get(pod)?.netns;
    for (let turn = 0; turn < 3; turn++) {
      await this.deps.datapath.setState(pod, pending, 'pending');
      if (netns !== undefined) await native().inject(netns, []);
    }
  }

  private replay(
    pod: string,
    rules: readonly PeerRule[],
    wireOf: (rule: PeerRule) => FlowTuple,
  ): Promise<number> {
    if (this.deps.pods.get(pod)?.hostNetwork !== true) return this.deps.kept.replay(pod, flowIds(rules));
    return this.deps.kept.replayBehindNat(
      pod,
      new Map(rules.map((rule) => [rule.rule.flowId, wireOf(rule)])),
    );
  }

  private knows(pods: MigrationRules, flow: PeerFlow): boolean {
    const pod = this.deps.pods.at(flow.peer.address);
    return pod !== undefined && (pods.get(pod.name)?.has(keyAt(flow)) ?? false);
  }

  /** Opening segments of connections that nobody knew of: from their senders' pods, so that the programs translate them. */
  private async sendStrays(pods: MigrationRules, strays: readonly Stray[]): Promise<number> {
    let sent = 0;
    for (const { flow, packet } of strays) {
      const pod = this.deps.pods.at(flow.peer.address);
      const rule = pod && pods.get(pod.name)?.get(keyAt(flow))?.rule;
      if (pod === undefined || rule === undefined) continue;
      const kept: KeptPacket = {
        pod: pod.name,
        flowId: rule.flowId,
        protocol: flow.protocol,
        direction: 'egress',
        tuple: rule.identity,
        kind: 'segment',
        // It bears the replica's address, where its sender may have called a virtual one.
        packet: withEnds(Buffer.from(packet, 'base64'), rule.wire),
      };
      sent += await this.deps.kept.send(pod.name, [kept]);
    }
    return sent;
  }

  /** Read back from the data plane where this process has not installed them. */
  private async rulesOf(migration: string): Promise<MigrationRules> {
    let pods = this.migrations.get(migration);
    if (pods !== undefined) return pods;
    pods = new Map();
    this.migrations.set(migration, pods);
    for (const pod of this.deps.pods.all()) {
      if (pod.name === this.deps.arriving(migration)) continue;
      const found = recoverPeerRules(BigInt(`0x${migration}`), await this.deps.datapath.flows(pod.name));
      if (found.some(({ rule }) => rule.state === 'active')) this.flipped.add(migration);
      if (found.some(({ rule, previous }) => (previous ?? rule).state === 'held')) this.held.add(migration);
      if (found.length > 0) pods.set(pod.name, new Map(found.map((rule) => [ruleKey(rule.rule), rule])));
    }
    return pods;
  }
}

/** Of these ports, with other far ends than these: a few, where the others may be 100,000. None where the pod has gone. */
async function otherSockets(
  netns: string,
  wanted: WantedSockets,
  places: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const sockets = await listFlows(netns, wanted).catch(() => []);
  const others = sockets.filter(({ tuple }) => !places.has(tuple.remote.address));
  return new Set(others.map(({ protocol, tuple }) => tupleName(protocol, tuple)));
}

/** By the wire to come, as the pod sees it: the same for a rule and for the flow that it was made for. */
function ruleKey({ protocol, wire: { local, remote } }: Pick<FlowRule, 'protocol' | 'wire'>): string {
  return `${protocol} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
}

function keyAt({ protocol, next, peer }: PeerFlow): string {
  return `${protocol} ${peer.address} ${peer.port} ${next.address} ${next.port}`;
}

function seenByWorkload({ protocol, wire }: FlowStatus): PeerFlow {
  return { protocol, now: wire.remote, next: wire.remote, peer: wire.local };
}

/** Before the switch: where the flow has been all the time. */
function wireUntilNow({ rule: { identity }, previous }: PeerRule): FlowTuple {
  return previous?.wire ?? identity;
}

function flowIds(rules: Iterable<PeerRule>): Set<bigint> {
  const ids = new Set<bigint>();
  for (const { rule } of rules) ids.add(rule.flowId);
  return ids;
}

/** Where the far ends are that the pod's transport still looks for elsewhere. */
function leftAddresses(rules: readonly PeerRule[]): Map<string, string> {
  return new Map(rules.map(({ rule: { identity, wire } }) => [identity.remote.address, wire.remote.address]));
}
