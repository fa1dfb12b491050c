/** One agent, step by step: what it is told, and what it then wants done. */
import { createAgent, persistedState, step, type Agent } from './agent.js';
import { defaultDeadlines } from './deadlines.js';
import type { Effect, Event, Role, WorkName } from './effects.js';
import type { Message, MessageKind, PeerFlow, Reply, TargetFlow, WorkloadName } from './messages.js';

export const id = '00000000000000aa';
export const workload = { name: 'default/redis', uid: 'uid-1' };

type Of<Type extends Effect['type']> = Extract<Effect, { type: Type }>;

/** Node s has 10.0.1.*, t has 10.0.2.*, p and q have 10.0.3.* and 10.0.4.*. */
export const nodeOfNet: Record<string, string> = { '1': 's', '2': 't', '3': 'p', '4': 'q' };

export function flow(port: number, peer = '10.0.3.1'): PeerFlow {
  return {
    protocol: 'tcp',
    now: { address: '10.0.1.1', port: 6379 },
    next: { address: '10.0.2.1', port: 6379 },
    peer: { address: peer, port },
  };
}

export function targetFlow(port: number, peer = '10.0.3.1', identity = peer): TargetFlow {
  return {
    protocol: 'tcp',
    identity: {
      local: { address: '10.0.1.1', port: 6379 },
      remote: { address: identity, port },
    },
    wire: { local: { address: '10.0.2.1', port: 6379 }, remote: { address: peer, port } },
  };
}

export class Script {
  agent: Agent;
  effects: Effect[] = [];
  /** addresses that have left their node */
  readonly gone = new Set<string>();
  /** names and uids of workloads that run on this node */
  readonly here = new Set<string>();
  now = 1_000;
  private tickets = 0;

  constructor(
    readonly node: string,
    private readonly migration = id,
  ) {
    this.agent = this.create([]);
  }

  private create(persisted: unknown[]): Agent {
    const nodeOf = (address: string): string | undefined =>
      this.gone.has(address) ? undefined : nodeOfNet[address.split('.')[2] as string];
    const directory = { nodeOf, hosts: (node: string, address: string) => nodeOf(address) === node };
    const isHere = ({ name, uid }: WorkloadName): boolean => this.here.has(name) || this.here.has(uid);
    return createAgent({ node: this.node, deadlines: defaultDeadlines, directory, isHere }, persisted);
  }

  event(event: Event): this {
    this.effects = step(this.agent, event, this.now);
    return this;
  }

  /** Its ticket is `t1`, `t2` and so on; the nonce that comes with it `nonce-t1`. */
  tell(from: string, message: Message): this {
    const ticket = `t${++this.tickets}`;
    return this.event({ type: 'message', from, ticket, nonce: `nonce-${ticket}`, message });
  }

  done(role: Role, work: WorkName, result: object = {}): this {
    return this.event({ type: 'done', role, migration: this.migration, work, result } as Event);
  }

  failed(role: Role, work: WorkName): this {
    return this.event({ type: 'failed', role, migration: this.migration, work, reason: 'no luck' });
  }

  timeout(role: Role, timer: Extract<Event, { type: 'timeout' }>['timer']): this {
    return this.event({ type: 'timeout', role, migration: this.migration, timer });
  }

  /** The newest request of this kind to this node is answered. */
  answer(role: Role, kind: MessageKind, to: string, reply: Reply | object = {}): this {
    const request = this.requestOf(kind, to);
    const full = { ok: true, ...reply };
    return this.event({ type: 'replied', role, migration: this.migration, request, reply: full as Reply });
  }

  unreached(role: Role, kind: MessageKind, to: string): this {
    const request = this.requestOf(kind, to);
    return this.event({ type: 'unreached', role, migration: this.migration, request, reason: 'no answer' });
  }

  requestOf(kind: MessageKind, to: string): string {
    const key = `${kind} ${to}`;
    for (const states of [this.agent.sources, this.agent.targets, this.agent.peers]) {
      const open = states.get(this.migration)?.requests[key];
      if (open !== undefined) return `${key} ${open.id}`;
    }
    throw new Error(`${key} is not asked`);
  }

  /** As after a crash: only what was written down is left. */
  restart(): this {
    const persisted = (['source', 'target', 'peer'] as const).flatMap((role) => {
      const state = persistedState(this.agent, role, this.migration);
      return state === undefined ? [] : [JSON.parse(JSON.stringify(state)) as unknown];
    });
    this.agent = this.create(persisted);
    return this.event({ type: 'restart' });
  }

  /** In short: `send hold p`, `run thaw`, `reply t1`, `persist source`. */
  get story(): string[] {
    return this.effects.flatMap((effect) => {
      if (effect.type === 'send') return `send ${effect.message.kind} ${effect.to}`;
      if (effect.type === 'run') return `run ${effect.work}`;
      if (effect.type === 'reply')
        return `reply ${effect.ticket} ${effect.reply.ok ? 'ok' : effect.reply.refusal}`;
      if (effect.type === 'persist' || effect.type === 'forgetState') return `${effect.type} ${effect.role}`;
      return effect.type === 'timer' ? `timer ${effect.timer}` : [];
    });
  }

  private of<Type extends Effect['type']>(type: Type): Array<Of<Type>> {
    return this.effects.filter((effect): effect is Of<Type> => effect.type === type);
  }

  get replies(): Reply[] {
    return this.of('reply').map(({ reply }) => reply);
  }

  sent(to: string): Message[] {
    return this.of('send')
      .filter((effect) => effect.to === to)
      .map(({ message }) => message);
  }

  ran(): Array<[WorkName, object]> {
    return this.of('run').map(({ work, request }) => [work, request]);
  }

  timers(): Record<string, number | undefined> {
    return Object.fromEntries(this.of('timer').map(({ timer, ms }) => [timer, ms]));
  }
}
