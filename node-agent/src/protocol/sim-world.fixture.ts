/**
 * What the agents of a simulated data centre work on: pods, flows between them, rules. It does what it is told, and notes
 * whatever must never happen. An agent's crash changes nothing here.
 */
import type { Plan, Role, WorkName, Work } from './effects.js';
import type { Difference, MigrationId, NodeName, PeerFlow, Stray, TargetFlow } from './messages.js';

export interface Pod {
  node: NodeName;
  address: string;
  uid: string;
  state: 'live' | 'frozen' | 'waiting' | 'restored' | 'gone';
  quiesced: boolean;
  /** that it came by */
  migration?: MigrationId;
  /** where each of its flows is sent to, by the flow's own port */
  view: Map<number, string>;
  strays: Stray[];
  /** a flow was switched under it while it was frozen: fine only if it is thawed here again */
  changedBy?: MigrationId;
}

/** Each end has a port that nobody else has. */
export interface Flow {
  ports: [number, number];
  uids: [string, string];
  /** what the transports believe */
  addresses: [string, string];
  open: boolean;
}

interface Rule {
  pod: Pod;
  port: number;
  next: string;
  state: 'pending' | 'held' | 'active';
}

export interface Move {
  uid: string;
  source: Pod;
  targetPod?: Pod;
  /** address of the other end, by own port */
  rules: Map<number, string>;
  /** written down: by the source, by the target */
  released: boolean;
  owned: boolean;
  /** what is sent to the target pod reaches it */
  opened?: boolean;
}

type Request<Name extends WorkName> = Work[Name]['request'];

export class SimWorld {
  readonly pods: Pod[] = [];
  readonly flows: Flow[] = [];
  readonly moves = new Map<MigrationId, Move>();
  /** by node, migration and the port of the end on that node */
  readonly rules = new Map<string, Map<number, Rule>>();
  readonly violations: string[] = [];
  private nextAddress = 1;
  private nextPort = 1;

  violate(what: string): void {
    this.violations.push(what);
  }

  addPod(node: NodeName, uid: string, state: Pod['state']): Pod {
    const address = `10.0.${this.nextAddress >> 8}.${this.nextAddress++ & 255}`;
    const pod: Pod = { node, address, uid, state, quiesced: false, view: new Map(), strays: [] };
    this.pods.push(pod);
    return pod;
  }

  hosts(node: NodeName, address: string): boolean {
    return this.at(address)?.node === node;
  }

  nodeOf(address: string): NodeName | undefined {
    return this.at(address)?.node;
  }

  private at(address: string): Pod | undefined {
    return this.pods.find((pod) => pod.address === address && pod.state !== 'gone');
  }

  live(uid: string): Pod | undefined {
    const pods = this.pods.filter((pod) => pod.uid === uid && pod.state === 'live');
    if (pods.length > 1) this.violate(`${uid} is alive ${pods.length} times`);
    return pods[0];
  }

  open(from: string, to: string): void {
    const [one, other] = [this.live(from), this.live(to)];
    const flow: Flow = {
      ports: [this.nextPort++, this.nextPort++],
      uids: [from, to],
      addresses: [one?.address ?? '', other?.address ?? ''],
      open: false,
    };
    const here = this.pods.find((pod) => pod.uid === to && pod.quiesced && pod.state !== 'gone');
    if (one === undefined || one.quiesced) return;
    if (here !== undefined) {
      this.flows.push(flow);
      here.strays.push({
        flow: peerFlow(here.address, '', one.address, flow.ports[1], flow.ports[0]),
        packet: '',
      });
    } else if (other !== undefined) {
      this.flows.push(flow);
      this.establish(flow, one, other);
    }
  }

  private establish(flow: Flow, one: Pod, other: Pod): void {
    flow.open = true;
    one.view.set(flow.ports[0], other.address);
    other.view.set(flow.ports[1], one.address);
  }

  end(flow: Flow): void {
    flow.open = false;
    for (const pod of this.pods) for (const port of flow.ports) pod.view.delete(port);
  }

  otherPort(port: number): number {
    return port % 2 === 1 ? port + 1 : port - 1;
  }

  private flowAt(port: number): Flow | undefined {
    return this.flows.find(({ ports }) => ports.includes(port));
  }

  private list(pod: Pod, next: string): Plan {
    const plan: Plan = { target: [], peers: {}, foreign: [] };
    for (const [port, remote] of pod.view) {
      const far = this.otherPort(port);
      const flow = peerFlow(pod.address, next, remote, port, far);
      const addresses = this.flowAt(port)?.addresses ?? ['', ''];
      const [local, foreign] = port % 2 === 1 ? addresses : [addresses[1], addresses[0]];
      const identity = { local: { address: local, port }, remote: { address: foreign, port: far } };
      const wire = { local: { address: next, port }, remote: { address: remote, port: far } };
      const node = this.nodeOf(remote);
      if (node === undefined) {
        plan.foreign.push(flow);
        continue;
      }
      plan.target.push({ protocol: 'tcp', identity, wire });
      (plan.peers[node] ??= []).push(flow);
    }
    return plan;
  }

  /** Carry it out. Throws where it can not be. */
  work(node: NodeName, role: Role, id: MigrationId, work: WorkName, request: object): object {
    const move = this.moves.get(id);
    if (move === undefined) throw new Error(`no migration ${id}`);
    if (role === 'source') return this.sourceWork(id, move, work, request);
    return role === 'target'
      ? this.targetWork(node, id, move, work, request)
      : this.peerWork(node, id, move, work, request);
  }

  private sourceWork(id: MigrationId, move: Move, work: WorkName, request: object): object {
    const { source } = move;
    const next = (request as Partial<Request<'plan'>>).addresses?.ipv4 ?? '';
    if (work === 'plan') return this.list(source, next);
    if (work === 'freeze') {
      if (source.state === 'live') source.state = 'frozen';
      return this.list(source, next);
    }
    if (work === 'takeStrays') return this.takeStrays(source, next);
    if (work === 'thaw') this.thaw(id, move);
    if (work === 'retire') this.retire(id, move);
    if (work === 'quiesce' || work === 'unquiesce') source.quiesced = work === 'quiesce';
    if (work === 'unquiesce') source.strays = [];
    return { left: 0 };
  }

  private retire(id: MigrationId, { source, released, owned }: Move): void {
    if (!released || !owned) this.violate(`${id} was retired before somebody else owned it`);
    this.remove(source);
  }

  private thaw(id: MigrationId, { source, uid, released }: Move): void {
    if (released) this.violate(`${id} was thawed after its release`);
    if (source.state === 'frozen') source.state = 'live';
    delete source.changedBy;
    this.live(uid);
  }

  private takeStrays(source: Pod, next: string): Work['takeStrays']['result'] {
    const strays = source.strays.splice(0).map(({ flow, packet }) => ({
      node: this.nodeOf(flow.peer.address) ?? '',
      stray: { flow: { ...flow, next: { ...flow.next, address: next } }, packet },
    }));
    return { strays };
  }

  private remove(pod: Pod): void {
    pod.state = 'gone';
    for (const rules of this.rules.values())
      for (const [port, rule] of rules) if (rule.pod === pod) rules.delete(port);
  }

  private targetWork(node: NodeName, id: MigrationId, move: Move, work: WorkName, request: object): object {
    if (work === 'makePod') return this.makePod(node, id, move);
    if (work === 'applyRules') {
      const { flows } = request as { flows: Difference<TargetFlow> };
      for (const { identity } of flows.remove) move.rules.delete(identity.local.port);
      for (const { identity, wire } of flows.add) move.rules.set(identity.local.port, wire.remote.address);
    }
    if (work === 'restore') this.restore(move);
    if (work === 'open') this.letIn(id, move);
    if (work === 'resume') this.resume(id, move);
    if (work === 'discard') {
      if (move.owned) this.violate(`${id} was discarded by its owner`);
      if (move.targetPod !== undefined) this.remove(move.targetPod);
    }
    return {};
  }

  private restore({ targetPod, source }: Move): void {
    if (targetPod?.state !== 'waiting' && targetPod?.state !== 'restored') throw new Error('there is no pod');
    if (source.state !== 'frozen') throw new Error('there is no image');
    targetPod.state = 'restored';
  }

  private makePod(node: NodeName, id: MigrationId, move: Move): Work['makePod']['result'] {
    if (move.targetPod === undefined || move.targetPod.state === 'gone') {
      move.targetPod = this.addPod(node, move.uid, 'waiting');
      move.targetPod.migration = id;
    }
    return { addresses: { ipv4: move.targetPod.address } };
  }

  /** Its sockets are there and its rules are active: packets come and go, whether its processes run or not. */
  private letIn(id: MigrationId, move: Move): void {
    const pod = move.targetPod;
    if (!move.released) this.violate(`${id} was opened before it was released`);
    if (pod === undefined || pod.state === 'waiting')
      return this.violate(`${id} was opened without having been restored`);
    if (move.opened === true) return;
    move.opened = true;
    const { changedBy } = move.source;
    if (changedBy !== undefined) this.violate(`${id} moved, and ${changedBy} was switched under it`);
    for (const port of move.source.view.keys()) {
      const remote = move.rules.get(port);
      if (remote === undefined) this.violate(`${id} was opened without a rule for its flow at ${port}`);
      else pod.view.set(port, remote);
      this.mustKnow(id, port, pod.address);
    }
  }

  private resume(id: MigrationId, move: Move): void {
    const pod = move.targetPod;
    if (!move.owned) this.violate(`${id} was resumed without an owner`);
    if (move.opened !== true) this.violate(`${id} was resumed without having been opened`);
    if (pod?.state !== 'restored') return;
    pod.state = 'live';
    this.live(move.uid);
  }

  /** Who does not understand the new location would answer the first packet with a reset. */
  private mustKnow(id: MigrationId, port: number, next: string): void {
    const far = this.otherPort(port);
    const known = this.pods.some(
      (pod) =>
        pod.state !== 'gone' &&
        this.rules.get(`${pod.node} ${id}`)?.get(far)?.next === next &&
        pod.view.has(far),
    );
    if (!known) this.violate(`${id} was opened before the peer at ${far} knew of it`);
  }

  private peerWork(node: NodeName, id: MigrationId, move: Move, work: WorkName, request: object): object {
    const rules = this.rulesOf(node, id);
    switch (work) {
      case 'install':
        return this.install(rules, node, (request as Request<'install'>).flows);
      case 'hold':
        return this.hold(rules, node, (request as Request<'hold'>).flows);
      case 'unhold':
        return change(rules, 'held', 'pending');
      case 'flip':
        return this.flip(id, move, rules, (request as Request<'flip'>).strays);
      case 'drop':
        return this.drop(node, id, rules);
      case 'dropEarlier':
        return this.dropEarlier(node, id, rules);
      default:
        for (const { peer } of (request as Request<'forget'>).flows) rules.delete(peer.port);
        return {};
    }
  }

  private hold(rules: Map<number, Rule>, node: NodeName, flows: Difference<PeerFlow>): { unknown: number[] } {
    for (const { peer } of flows.remove) rules.delete(peer.port);
    const result = this.install(rules, node, flows.add);
    change(rules, 'pending', 'held');
    return result;
  }

  private drop(node: NodeName, id: MigrationId, rules: Map<number, Rule>): object {
    for (const { state } of rules.values())
      if (state === 'active') this.violate(`${id} was dropped at ${node} after it was switched`);
    rules.clear();
    return {};
  }

  private dropEarlier(node: NodeName, id: MigrationId, rules: Map<number, Rule>): object {
    const others = [...this.rules].filter(([key]) => key.startsWith(`${node} `) && key !== `${node} ${id}`);
    for (const [, earlier] of others)
      for (const port of rules.keys()) if (earlier.get(port)?.state === 'active') earlier.delete(port);
    return {};
  }

  rulesOf(node: NodeName, id: MigrationId): Map<number, Rule> {
    const key = `${node} ${id}`;
    const rules = this.rules.get(key) ?? new Map<number, Rule>();
    this.rules.set(key, rules);
    return rules;
  }

  private install(rules: Map<number, Rule>, node: NodeName, flows: PeerFlow[]): { unknown: number[] } {
    const unknown: number[] = [];
    for (const [index, { peer, next }] of flows.entries()) {
      const pod = this.at(peer.address);
      if (pod?.node !== node) unknown.push(index);
      else if (!rules.has(peer.port))
        rules.set(peer.port, { pod, port: peer.port, next: next.address, state: 'pending' });
    }
    return { unknown };
  }

  private flip(id: MigrationId, move: Move, rules: Map<number, Rule>, strays: Stray[]): { replayed: number } {
    if (!move.released) this.violate(`${id} was switched before it was released`);
    // It may have moved on by now.
    if (move.opened !== true) this.violate(`${id} was switched before its target was open`);
    for (const rule of rules.values()) {
      if (rule.state !== 'active' && rule.pod.view.has(rule.port)) {
        if (rule.pod.state === 'frozen') rule.pod.changedBy = id;
        rule.pod.view.set(rule.port, rule.next);
      }
      rule.state = 'active';
    }
    for (const { flow } of strays) this.flipStray(rules, flow, move);
    return { replayed: rules.size };
  }

  /** It arrives also where the processes do not run yet: their kernel answers. */
  private flipStray(rules: Map<number, Rule>, { now, next, peer }: PeerFlow, move: Move): void {
    const flow = this.flowAt(peer.port);
    const [one, other] = [this.at(peer.address), this.at(next.address)];
    const isThere = other?.state === 'live' || (other?.state === 'restored' && other === move.targetPod);
    if (flow === undefined || flow.open || one?.state !== 'live' || !isThere) return;
    if (one.quiesced || other.quiesced) return;
    flow.addresses = [one.address, now.address];
    this.establish(flow, one, other);
    rules.set(peer.port, { pod: one, port: peer.port, next: next.address, state: 'active' });
  }

  /** What must be true when nothing happens any more. */
  checkRest(): void {
    for (const uid of new Set(this.pods.map((pod) => pod.uid))) {
      const states = this.pods
        .filter((pod) => pod.uid === uid && pod.state !== 'gone')
        .map(({ state }) => state);
      if (states.join() !== 'live') this.violate(`${uid} is ${states.join(' and ')} in the end`);
      if (this.live(uid)?.quiesced === true) this.violate(`${uid} is quiesced in the end`);
    }
    for (const [key, rules] of this.rules)
      for (const { port, state } of rules.values())
        if (state !== 'active') this.violate(`rule of ${key} at ${port} is ${state} in the end`);
    for (const flow of this.flows) if (flow.open) this.checkFlow(flow);
  }

  private checkFlow({ ports, uids }: Flow): void {
    const pods = uids.map((uid) => this.live(uid));
    for (const end of [0, 1] as const) {
      const seen = pods[end]?.view.get(ports[end]);
      const is = pods[1 - end]?.address;
      if (seen !== is)
        this.violate(`flow ${ports.join('-')}: ${uids[end]} sends to ${seen}, the other end is at ${is}`);
    }
  }
}

function change(rules: Map<number, Rule>, from: Rule['state'], to: Rule['state']): object {
  for (const rule of rules.values()) if (rule.state === from) rule.state = to;
  return {};
}

function peerFlow(now: string, next: string, peer: string, port: number, far: number): PeerFlow {
  return {
    protocol: 'tcp',
    now: { address: now, port },
    next: { address: next, port },
    peer: { address: peer, port: far },
  };
}
