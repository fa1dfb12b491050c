/**
 * Agents over a network that loses, doubles, delays and forges, with clocks, disks and crashes; all from one seed. Events
 * happen one at a time, in the order of a simulated clock.
 */
import { Random } from '../packet-tests/prng.js';
import { createAgent, persistedState, step, type Agent } from './agent.js';
import { defaultDeadlines } from './deadlines.js';
import type { Effect, Event, Role, WorkName } from './effects.js';
import type { Message, MigrationId, NodeName, Reply } from './messages.js';
import { SimWorld } from './sim-world.fixture.js';

/** How often what goes wrong, in percent. */
export interface Faults {
  loss: number;
  double: number;
  slow: number;
  slowWork: number;
  forge: number;
  workFails: number;
}

export const noFaults: Faults = { loss: 0, double: 0, slow: 0, slowWork: 0, forge: 0, workFails: 0 };

export const simDeadlines = { ...defaultDeadlines, tombstoneMs: 60_000 };

interface Happening {
  at: number;
  order: number;
  happen: () => void;
}

interface Running {
  effect: Extract<Effect, { type: 'run' }>;
}

interface SimNode {
  name: NodeName;
  agent: Agent | undefined;
  /** what belongs to an earlier life does not reach this one */
  life: number;
  disk: Map<string, string>;
  timers: Map<string, object>;
  tickets: Map<string, (reply: Reply | undefined) => void>;
  works: Map<string, Running>;
  /** the last work of each migration's peer */
  holds: Map<MigrationId, object>;
  /** so many more effects, then it dies */
  crashAfter: number | undefined;
  downMs: number;
  /** cut off from everybody until then */
  cutUntil: number;
}

export class SimAgents {
  readonly world = new SimWorld();
  readonly nodes = new Map<NodeName, SimNode>();
  readonly outcomes: string[] = [];
  time = 0;
  events = 0;
  private readonly random: Random;
  private readonly queue: Happening[] = [];
  private nextOrder = 0;
  private nextTicket = 0;

  constructor(
    seed: number,
    names: readonly NodeName[],
    public faults: Faults,
  ) {
    this.random = new Random(seed);
    for (const name of names) {
      const node: SimNode = {
        name,
        agent: undefined,
        life: 0,
        disk: new Map(),
        timers: new Map(),
        tickets: new Map(),
        works: new Map(),
        holds: new Map(),
        crashAfter: undefined,
        downMs: 0,
        cutUntil: 0,
      };
      this.nodes.set(name, node);
      this.boot(node);
    }
  }

  node(name: NodeName): SimNode {
    return this.nodes.get(name) as SimNode;
  }

  /** A binary heap: the earliest first, in the order of their coming where they are as early. */
  at(time: number, happen: () => void): void {
    const { queue } = this;
    queue.push({ at: Math.max(time, this.time), order: this.nextOrder++, happen });
    for (let index = queue.length - 1; index > 0;) {
      const parent = (index - 1) >> 1;
      if (!this.swapIfEarlier(index, parent)) break;
      index = parent;
    }
  }

  private isEarlier(index: number, than: number): boolean {
    const [one, other] = [this.queue[index], this.queue[than]];
    if (one === undefined || other === undefined) return false;
    return one.at < other.at || (one.at === other.at && one.order < other.order);
  }

  private earlierChild(index: number): number {
    const left = 2 * index + 1;
    return this.isEarlier(left + 1, left) ? left + 1 : left;
  }

  private swapIfEarlier(index: number, than: number): boolean {
    if (!this.isEarlier(index, than)) return false;
    const { queue } = this;
    [queue[index], queue[than]] = [queue[than] as Happening, queue[index] as Happening];
    return true;
  }

  private take(): Happening | undefined {
    const { queue } = this;
    const first = queue[0];
    const last = queue.pop();
    if (first === undefined || last === undefined || queue.length === 0) return first;
    queue[0] = last;
    let index = 0;
    for (let child = this.earlierChild(0); this.swapIfEarlier(child, index); child = this.earlierChild(index))
      index = child;
    return first;
  }

  /** Until nothing happens any more. */
  run(maxEvents = 300_000): void {
    for (let next = this.take(); next !== undefined; next = this.take()) {
      this.time = next.at;
      next.happen();
      if (this.world.violations.length > 0) return;
      if (++this.events > maxEvents) return this.world.violate('it never comes to rest');
    }
  }

  private later(ms: number, happen: () => void): void {
    this.at(this.time + ms, happen);
  }

  private fraction(): number {
    return this.random.word() / 2 ** 32;
  }

  dispatch(node: SimNode, event: Event): void {
    if (node.agent === undefined) return;
    const effects = step(node.agent, event, this.time);
    for (const effect of effects) {
      if (node.crashAfter !== undefined && node.crashAfter-- <= 0) return this.crash(node);
      this.perform(node, effect);
    }
  }

  private perform(node: SimNode, effect: Effect): void {
    switch (effect.type) {
      case 'send':
        return this.send(node, effect);
      case 'reply':
        node.tickets.get(effect.ticket)?.(effect.reply);
        node.tickets.delete(effect.ticket);
        return;
      case 'persist':
        return this.write(node, effect);
      case 'forgetState':
        node.disk.delete(`${effect.role} ${effect.migration}`);
        return;
      case 'run':
        return this.work(node, effect);
      case 'timer':
        return this.setTimer(node, effect);
      case 'cancelTimer':
        node.timers.delete(`${effect.role} ${effect.migration} ${effect.timer}`);
        return;
      case 'note':
        return this.note(effect);
    }
  }

  private note({ role, migration, note }: Extract<Effect, { type: 'note' }>): void {
    if (note.what === 'phase') this.outcomes.push(`${migration} ${role} ${note.phase}`);
    else if (note.what === 'givenUp') this.outcomes.push(`${migration} ${role} ${note.reason}`);
  }

  private write(node: SimNode, { role, migration }: Extract<Effect, { type: 'persist' }>): void {
    const state = persistedState(node.agent as Agent, role, migration);
    node.disk.set(`${role} ${migration}`, JSON.stringify(state));
    const move = this.world.moves.get(migration);
    if (move === undefined || state === undefined) return;
    if (state.role === 'source') move.released ||= state.phase === 'released' || state.phase === 'retiring';
    if (state.role === 'target') move.owned ||= ['owner', 'switching', 'done'].includes(state.phase);
    if (move.owned && !move.released)
      this.world.violate(`${migration} has an owner that it was not released to`);
  }

  private latency(): number {
    return this.random.chance(this.faults.slow) ? this.fraction() * 4_000 : 0.1 + this.fraction() * 2;
  }

  private isLost(...ends: SimNode[]): boolean {
    return this.random.chance(this.faults.loss) || ends.some(({ cutUntil }) => cutUntil > this.time);
  }

  private send(from: SimNode, effect: Extract<Effect, { type: 'send' }>): void {
    const { role, request, message } = effect;
    const { migration } = message;
    const { life } = from;
    const to = this.node(effect.to);
    let isOver = false;
    const end = (event: Event): void => {
      if (from.life !== life) return;
      // An answer to what was given up already may still come.
      if (isOver && !(event.type === 'replied' && this.random.chance(50))) return;
      isOver = true;
      this.dispatch(from, event);
    };
    const unreached: Event = { type: 'unreached', role, migration, request, reason: 'no answer' };
    this.later(1_000, () => end(unreached));
    const text = JSON.stringify(message);
    const answered = (reply: Reply | undefined): void => {
      if (reply === undefined) return this.later(this.latency(), () => end(unreached));
      if (!this.isLost(from, to))
        this.later(this.latency(), () => end({ type: 'replied', role, migration, request, reply }));
    };
    if (!this.isLost(from, to)) this.deliver(from.name, to, text, answered);
    const nobody = (): void => undefined;
    if (this.random.chance(this.faults.double))
      this.later(this.fraction() * 3_000, () => this.deliver(from.name, to, text, nobody));
    if (this.random.chance(this.faults.forge)) {
      const liars = [...this.nodes.keys()].filter((name) => name !== from.name);
      const [liar, victim] = [this.random.pick(liars), this.node(this.random.pick([...this.nodes.keys()]))];
      this.deliver(liar, victim, text, nobody);
    }
  }

  private deliver(
    from: NodeName,
    to: SimNode,
    text: string,
    answered: (reply: Reply | undefined) => void,
  ): void {
    this.later(this.latency(), () => {
      if (to.agent === undefined) return answered(undefined);
      const ticket = String(this.nextTicket++);
      const nonce = `nonce ${ticket}`;
      to.tickets.set(ticket, answered);
      this.dispatch(to, { type: 'message', from, ticket, nonce, message: JSON.parse(text) as Message });
    });
  }

  private setTimer(node: SimNode, effect: Extract<Effect, { type: 'timer' }>): void {
    const { role, migration, timer, ms, attempt = 0 } = effect;
    const key = `${role} ${migration} ${timer}`;
    const most = timer === 'backoff' ? 200 : 2_000;
    const delay = ms ?? Math.min(most, 20 * 2 ** attempt) * (0.5 + this.fraction() / 2);
    const mine = {};
    node.timers.set(key, mine);
    this.later(delay, () => {
      if (node.timers.get(key) !== mine) return;
      node.timers.delete(key);
      this.dispatch(node, { type: 'timeout', role, migration, timer });
    });
  }

  /** Some of it takes long, but at a peer: there it would keep others from their deadlines. */
  private duration(role: Role, work: WorkName): number {
    if (work === 'move' && this.random.chance(this.faults.slow)) return this.fraction() * 40_000;
    if (role !== 'peer' && this.random.chance(this.faults.slowWork)) return this.fraction() * 3_000;
    return work === 'move' || work === 'makePod' ? 5 + this.fraction() * 100 : 0.1 + this.fraction() * 10;
  }

  private work(node: SimNode, effect: Extract<Effect, { type: 'run' }>): void {
    const { role, migration, work } = effect;
    const key = `${role} ${migration} ${work}`;
    const mine: Running = { effect };
    if (node.works.has(key)) this.world.violate(`${key} runs twice at a time`);
    node.works.set(key, mine);
    this.later(this.duration(role, work), () => {
      if (node.works.get(key) !== mine) return;
      node.works.delete(key);
      this.dispatch(node, this.workEnd(node, effect));
    });
  }

  /** What fails may have been done all the same. */
  private workEnd(node: SimNode, effect: Extract<Effect, { type: 'run' }>): Event {
    const { role, migration, work } = effect;
    const fails = this.random.chance(this.faults.workFails);
    try {
      if (fails && this.random.chance(50)) throw new Error('it failed');
      const result = this.world.work(node.name, role, migration, work, effect.request);
      if (role === 'peer') this.watchHold(node, migration, work);
      if (fails) throw new Error('it failed in the end');
      return { type: 'done', role, migration, work, result } as Event;
    } catch (error) {
      return { type: 'failed', role, migration, work, reason: (error as Error).message };
    }
  }

  /** No agent that lives may hold longer than it may. */
  private watchHold(node: SimNode, migration: MigrationId, work: WorkName): void {
    const { life } = node;
    const mine = {};
    node.holds.set(migration, mine);
    if (work !== 'hold') return;
    this.later(simDeadlines.peerHoldMs + 5_000, () => {
      const rules = [...this.world.rulesOf(node.name, migration).values()];
      if (
        node.life === life &&
        node.holds.get(migration) === mine &&
        rules.some(({ state }) => state === 'held')
      )
        this.world.violate(`${migration} is held at ${node.name} for too long`);
    });
  }

  /** Dies; what it was at may or may not have been done. It comes back by itself. */
  crash(node: SimNode): void {
    if (node.agent === undefined) return;
    node.agent = undefined;
    node.crashAfter = undefined;
    node.timers.clear();
    for (const { effect } of node.works.values()) if (this.random.chance(50)) this.workEnd(node, effect);
    node.works.clear();
    node.life++;
    for (const answered of node.tickets.values()) answered(undefined);
    node.tickets.clear();
    const { life } = node;
    this.later(node.downMs, () => {
      if (node.life === life) this.boot(node);
    });
  }

  boot(node: SimNode): void {
    if (node.agent !== undefined) return;
    const persisted = [...node.disk.values()].map((text) => JSON.parse(text) as unknown);
    node.agent = createAgent({ node: node.name, deadlines: simDeadlines, directory: this.world }, persisted);
    if (persisted.length > 0) this.dispatch(node, { type: 'restart' });
  }
}
