/**
 * Carries out what the protocol decides: effects in their order, what comes of them back as events. The protocol is pure;
 * everything that touches the world is handed in. Effects of one migration wait for its writes to stable storage, those of
 * others don't.
 */
import { randomBytes } from 'node:crypto';
import type { Effect, Event, Note, Role, TimerName, WorkName } from '../protocol/effects.js';
import type { Message, MessageKind, MigrationId, NodeName, Reply } from '../protocol/messages.js';

/** The protocol of one node, as the runner needs it. */
export interface Core {
  step(event: Event, now: number): Effect[];
  /** what has to be written down for this role of this migration now; undefined for nothing */
  persisted(role: Role, migration: MigrationId): unknown;
}

export interface RunnerDeps {
  node: NodeName;
  core: Core;
  /** one attempt; rejects where there was no reply */
  request: (to: NodeName, message: Message, timeoutMs: number) => Promise<Reply>;
  work: (role: Role, migration: MigrationId, work: WorkName, request: unknown) => Promise<object>;
  store: { write(key: string, value: unknown): Promise<void>; remove(key: string): Promise<void> };
  observe: Observer;
}

/** What people and metrics are told. */
export interface Observer {
  noted(role: Role, migration: MigrationId, note: Note): void;
  /** something took from `startMs` (performance.now) on so long */
  span(role: Role, migration: MigrationId, name: string, startMs: number, durationMs: number): void;
  sent(message: MessageKind, outcome: 'replied' | 'refused' | 'unreached'): void;
  unreached(to: NodeName, message: Message, reason: string): void;
  failed(what: string, error: unknown, migration?: MigrationId): void;
  /** the protocol has taken this in: states may have changed */
  stepped(event: Event): void;
}

/** How long a reply may take: what has to be done for it, and then some. The protocol asks again. */
const patienceMs: Record<MessageKind, number> = {
  prepareTarget: 30_000,
  targetFlows: 10_000,
  restore: 60_000,
  release: 2_000,
  strays: 1_000,
  switched: 2_000,
  preparePeer: 20_000,
  hold: 1_000,
  unhold: 1_000,
  rsyn: 1_000,
  abort: 5_000,
  outcome: 1_000,
  ended: 5_000,
};

/**
 * What lets a workload run on waits for no disk: the protocol asks for it only before a release, and asks again when something
 * that was begun earlier ends after it.
 */
const atOnce: ReadonlySet<WorkName> = new Set(['thaw', 'unquiesce']);
/**
 * Nor do peers for the target's record of what the source has in writing already: the record takes 1 to 2 ms, the peers 5, and
 * their clients wait for the longer of the two.
 */
const sentAtOnce: ReadonlySet<MessageKind> = new Set(['rsyn']);

function mayOvertake(effect: Effect): boolean {
  if (effect.type === 'run') return atOnce.has(effect.work);
  return effect.type === 'send' && sentAtOnce.has(effect.message.kind);
}

interface Ticket {
  migration: MigrationId;
  resolve: (reply: Reply) => void;
}

export class Runner {
  private readonly tickets = new Map<string, Ticket>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  /** the last thing to be done, by migration */
  private readonly chains = new Map<MigrationId, Promise<void>>();
  private readonly queue: Event[] = [];
  private draining = false;
  private stopped = false;
  private nextTicket = 1;

  constructor(private readonly deps: RunnerDeps) {}

  /** Another agent asks; `from` is what its certificate says. */
  handle(from: NodeName, message: Message): Promise<Reply> {
    return new Promise((resolve) => {
      const ticket = String(this.nextTicket++);
      this.tickets.set(ticket, { migration: message.migration, resolve });
      this.dispatch({ type: 'message', from, ticket, nonce: randomBytes(16).toString('hex'), message });
    });
  }

  dispatch(event: Event): void {
    if (this.stopped) return;
    this.queue.push(event);
    if (this.draining) return;
    this.draining = true;
    try {
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) this.step(next);
    } finally {
      this.draining = false;
    }
  }

  /** Nothing is begun any more; what is under way ends by itself, and whoever waits for an answer is let go. */
  stop(): void {
    this.stopped = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
    for (const { resolve } of this.tickets.values())
      resolve({ ok: false, refusal: 'failed', reason: 'the agent is stopping' });
    this.tickets.clear();
  }

  /** Resolves when what was begun has been written down. */
  async settled(): Promise<void> {
    await Promise.all(this.chains.values());
  }

  private step(event: Event): void {
    let effects: Effect[];
    try {
      effects = this.deps.core.step(event, steadyNow());
    } catch (error) {
      this.deps.observe.failed(`event ${event.type}`, error, migrationOf(event));
      if (event.type === 'message') this.answer(event.ticket, wrong(error));
      return;
    }
    for (const effect of effects) this.enqueue(effect);
    this.deps.observe.stepped(event);
  }

  private enqueue(effect: Effect): void {
    const migration = this.migrationOfEffect(effect);
    // The value of now: a later step writes its own.
    const value =
      effect.type === 'persist' ? this.deps.core.persisted(effect.role, effect.migration) : undefined;
    const chain = this.chains.get(migration);
    if (effect.type !== 'persist' && effect.type !== 'forgetState')
      if (chain === undefined || mayOvertake(effect)) {
        this.perform(effect);
        return;
      }
    const next = (chain ?? Promise.resolve()).then(() => this.inOrder(effect, value));
    this.chains.set(migration, next);
    void next.then(() => {
      if (this.chains.get(migration) === next) this.chains.delete(migration);
    });
  }

  private async inOrder(effect: Effect, value: unknown): Promise<void> {
    if (effect.type === 'persist') await this.write(effect.role, effect.migration, value);
    else if (effect.type === 'forgetState') await this.forget(effect.role, effect.migration);
    else this.perform(effect);
  }

  /** Without its record a step must not be taken: the write is tried until it works. */
  private async write(role: Role, migration: MigrationId, value: unknown): Promise<void> {
    for (let attempt = 0; !this.stopped; attempt++) {
      try {
        await this.deps.store.write(`${role}-${migration}`, value);
        return;
      } catch (error) {
        this.deps.observe.failed(`write the state of the ${role}`, error, migration);
        await new Promise((resolve) => setTimeout(resolve, backoffMs(attempt, writeRetry)));
      }
    }
  }

  private async forget(role: Role, migration: MigrationId): Promise<void> {
    try {
      await this.deps.store.remove(`${role}-${migration}`);
    } catch (error) {
      this.deps.observe.failed(`remove the state of the ${role}`, error, migration);
    }
  }

  private perform(effect: Exclude<Effect, { type: 'persist' | 'forgetState' }>): void {
    if (this.stopped) return;
    switch (effect.type) {
      case 'send':
        void this.send(effect);
        break;
      case 'reply':
        this.answer(effect.ticket, effect.reply);
        break;
      case 'run':
        void this.work(effect);
        break;
      case 'timer':
        this.setTimer(effect);
        break;
      case 'cancelTimer':
        this.cancelTimer(timerKey(effect));
        break;
      case 'note':
        this.deps.observe.noted(effect.role, effect.migration, effect.note);
        break;
    }
  }

  private async send({ role, to, request, message }: Extract<Effect, { type: 'send' }>): Promise<void> {
    const { migration, kind } = message;
    const start = performance.now();
    try {
      const reply = to === this.deps.node ? await this.askSelf(message) : await this.ask(to, message);
      this.deps.observe.span(role, migration, kind, start, performance.now() - start);
      this.deps.observe.sent(kind, reply.ok ? 'replied' : 'refused');
      this.dispatch({ type: 'replied', role, migration, request, reply });
    } catch (error) {
      const reason = (error as Error).message;
      this.deps.observe.sent(kind, 'unreached');
      this.deps.observe.unreached(to, message, reason);
      this.dispatch({ type: 'unreached', role, migration, request, reason });
    }
  }

  /** After what goes to others at the same time: they would wait for this node's own work. */
  private async askSelf(message: Message): Promise<Reply> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.handle(this.deps.node, message);
  }

  private ask(to: NodeName, message: Message): Promise<Reply> {
    return this.deps.request(to, message, patienceMs[message.kind]);
  }

  private answer(ticket: string, reply: Reply): void {
    this.tickets.get(ticket)?.resolve(reply);
    this.tickets.delete(ticket);
  }

  private async work(effect: Extract<Effect, { type: 'run' }>): Promise<void> {
    const { role, migration, work, request } = effect;
    const start = performance.now();
    try {
      const result = await this.deps.work(role, migration, work, request);
      this.deps.observe.span(role, migration, work, start, performance.now() - start);
      this.dispatch({ type: 'done', role, migration, work, result } as Event);
    } catch (error) {
      this.deps.observe.failed(work, error, migration);
      this.dispatch({ type: 'failed', role, migration, work, reason: (error as Error).message });
    }
  }

  private setTimer(effect: Extract<Effect, { type: 'timer' }>): void {
    const { role, migration, timer, ms, attempt = 0 } = effect;
    const key = timerKey(effect);
    this.cancelTimer(key);
    const delay = ms ?? backoffMs(attempt, timer === 'backoff' ? busyBackoff : retryBackoff);
    const fire = (): void => {
      this.timers.delete(key);
      this.dispatch({ type: 'timeout', role, migration, timer });
    };
    this.timers.set(key, setTimeout(fire, delay).unref());
  }

  private cancelTimer(key: string): void {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
  }

  private migrationOfEffect(effect: Effect): MigrationId {
    if (effect.type === 'send') return effect.message.migration;
    if (effect.type === 'reply') return this.tickets.get(effect.ticket)?.migration ?? '';
    return effect.migration;
  }
}

/** Milliseconds since the epoch by a clock that nobody steps: what the report of a switch is measured by. */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now();
}

interface Backoff {
  firstMs: number;
  longestMs: number;
}

const retryBackoff: Backoff = { firstMs: 20, longestMs: 2_000 };
const busyBackoff: Backoff = { firstMs: 20, longestMs: 200 };
const writeRetry: Backoff = { firstMs: 50, longestMs: 1_000 };

/** Doubles with each attempt; between half and the whole, so that those who failed together don't come back together. */
export function backoffMs(attempt: number, { firstMs, longestMs }: Backoff, random = Math.random()): number {
  return Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 16)) * (0.5 + random / 2);
}

function timerKey(effect: { role: Role; migration: MigrationId; timer: TimerName }): string {
  return `${effect.role} ${effect.migration} ${effect.timer}`;
}

function migrationOf(event: Event): MigrationId | undefined {
  if (event.type === 'restart') return undefined;
  return event.type === 'message' ? event.message.migration : event.migration;
}

function wrong(error: unknown): Reply {
  return {
    ok: false,
    refusal: 'failed',
    reason: `the agent met an error of its own: ${(error as Error).message}`,
  };
}
