/**
 * What the protocol wants done, and what it hears of it. The protocol decides; the agent around it (src/agent) carries
 * out effects in their order and comes back with events. An effect may be asked for again after a restart, so each is
 * idempotent. Everything that `run` names ends with exactly one `done` or `failed` event of the same name, unless the
 * process dies.
 */
import type {
  Difference,
  Message,
  MigrationId,
  NodeName,
  Nonce,
  PeerFlow,
  Reply,
  Stray,
  SwitchReport,
  TargetAddresses,
  TargetFlow,
  WorkloadName,
} from './messages.js';

/** All flows of a workload, as they stand now: who has to know what. */
export interface Plan {
  target: TargetFlow[];
  /** by the node that hosts the other end */
  peers: Record<NodeName, PeerFlow[]>;
  /** flows whose other end is on no node of ours: they will be lost */
  foreign: PeerFlow[];
}

export const noPlan: Plan = { target: [], peers: {}, foreign: [] };

/** Work at the source, and what it yields. */
export interface SourceWork {
  /** list the flows; `addresses`: where they will be. Nothing is changed. */
  plan: { request: { addresses: TargetAddresses }; result: Plan };
  /** hold new connections, let handshakes and accept queues drain for a bounded time */
  quiesce: { request: object; result: { left: number } };
  /** undo `quiesce`; what was held is let in */
  unquiesce: { request: object; result: object };
  /** freeze, hold the pod both ways, list the flows again */
  freeze: { request: { addresses: TargetAddresses }; result: Plan };
  /** dump, and carry everything to the target */
  move: { request: { target: NodeName }; result: object };
  /** opening segments kept since the last time */
  takeStrays: {
    request: { addresses: TargetAddresses };
    result: { strays: Array<{ node: NodeName; stray: Stray }> };
  };
  /**
   * Before the release only: thaw, let packets through again. Fine where nothing was frozen. Asked for at once, even while
   * `quiesce`, `freeze` or `move` still run, which have lost their purpose then; once more when those have ended.
   */
  thaw: { request: object; result: object };
  /**
   * after the release: the source pod goes, its network first; not one that came back, with this epoch or a later one.
   * `addresses`: where the workload is now
   */
  retire: { request: { epoch: number; addresses: TargetAddresses }; result: object };
}

/** Work at the target. */
export interface TargetWork {
  /** make the pod that waits, held, its stack ready for sockets of these addresses */
  makePod: {
    request: { workload: WorkloadName; addresses: string[]; mover: string; image: Record<string, unknown> };
    result: { addresses: TargetAddresses };
  };
  /** rules of the target pod */
  applyRules: { request: { flows: Difference<TargetFlow> }; result: object };
  /** restore from what was carried; it stands still afterwards */
  restore: { request: object; result: object };
  /** activate the rules, end the hold: only ever asked for after the release was written down, as `resume` */
  open: { request: { epoch: number }; result: object };
  /** let it run */
  resume: { request: { epoch: number }; result: object };
  /** send what the restored sockets had to say while they were held */
  replayOwn: { request: object; result: object };
  /**
   * Before the release only: kill what was restored, take the pod away. Fine where there is nothing. Asked for at once,
   * like `thaw`, and once more when `makePod`, `applyRules` or `restore` have ended.
   */
  discard: { request: object; result: object };
}

/** Work at a peer. */
export interface PeerWork {
  /** pending rules: inbound from the next location is understood, outbound as before */
  install: { request: { flows: PeerFlow[] }; result: { unknown: number[] } };
  /** install what was added, remove what went, hold all */
  hold: { request: { flows: Difference<PeerFlow> }; result: { unknown: number[] } };
  /** what is held is pending again (what is active stays so); what was kept is sent to where the flow still is */
  unhold: { request: object; result: object };
  /** all rules of this migration active, in one go; then send what was kept, and the strays from their pods */
  flip: { request: { strays: Stray[] }; result: { replayed: number } };
  /** remove this migration's rules; what was kept is sent to where the flow still is */
  drop: { request: object; result: object };
  /** remove rules of earlier migrations of the flows that this one has flipped */
  dropEarlier: { request: object; result: object };
  /** remove the rules of flows that have ended; `unlessAlive`: of those only that have no socket here any more */
  forget: { request: { flows: PeerFlow[]; unlessAlive?: boolean }; result: object };
}

export type Role = 'source' | 'target' | 'peer';
export type Work = SourceWork & TargetWork & PeerWork;
export type WorkName = keyof Work;

/** `deadline`: of the phase; the others: as they say. Setting one again replaces it. */
export type TimerName = 'deadline' | 'retry' | 'backoff' | 'outcome' | 'settle' | 'strays';

export type Effect =
  /** Ask another agent. Exactly one attempt; its reply, or that there was none, comes back with `request`. */
  | { type: 'send'; role: Role; to: NodeName; request: string; message: Message }
  /** Answer what came with a `message` event of this ticket. */
  | { type: 'reply'; ticket: string; reply: Reply }
  /** The state of this role of this migration to stable storage, before any later effect is carried out. */
  | { type: 'persist'; role: Role; migration: MigrationId }
  /** Forget what was persisted. */
  | { type: 'forgetState'; role: Role; migration: MigrationId }
  | {
      [Name in WorkName]: {
        type: 'run';
        role: Role;
        migration: MigrationId;
        work: Name;
        request: Work[Name]['request'];
      };
    }[WorkName]
  /** `attempt` lets the agent around choose a delay with backoff and jitter where `ms` is absent. */
  | { type: 'timer'; role: Role; migration: MigrationId; timer: TimerName; ms?: number; attempt?: number }
  | { type: 'cancelTimer'; role: Role; migration: MigrationId; timer: TimerName }
  /** For people and metrics: a phase was entered, or something was given up. */
  | { type: 'note'; role: Role; migration: MigrationId; note: Note };

export type Note =
  | { what: 'phase'; phase: string }
  | { what: 'retry'; message: Message['kind']; attempt: number }
  | { what: 'givenUp'; reason: string }
  /** flows that will not survive, and why */
  | {
      what: 'lost';
      reason: 'foreign' | 'unknownPeer' | 'unreachablePeer' | 'unfinishedHandshake';
      flows: number;
    }
  /** at the source: the target runs it, and says how that went */
  | { what: 'switched'; report: SwitchReport }
  | { what: 'refused'; message: Message['kind']; refusal: string };

export type Event =
  /** Somebody wants a workload moved from here. */
  | {
      type: 'start';
      migration: MigrationId;
      epoch: number;
      workload: WorkloadName;
      target: NodeName;
      mover: string;
      image: Record<string, unknown>;
      /** addresses that its sockets may be bound to, the first is where it is now */
      addresses: string[];
    }
  /** Somebody wants it given up. */
  | { type: 'cancel'; migration: MigrationId }
  /** Another agent asks; `from` is what its certificate says. */
  | { type: 'message'; from: NodeName; ticket: string; nonce: Nonce; message: Message }
  | { type: 'replied'; role: Role; migration: MigrationId; request: string; reply: Reply }
  /** no reply: lost, refused by the network, timed out */
  | { type: 'unreached'; role: Role; migration: MigrationId; request: string; reason: string }
  | {
      [Name in WorkName]: {
        type: 'done';
        role: Role;
        migration: MigrationId;
        work: Name;
        result: Work[Name]['result'];
      };
    }[WorkName]
  | { type: 'failed'; role: Role; migration: MigrationId; work: WorkName; reason: string }
  | { type: 'timeout'; role: Role; migration: MigrationId; timer: TimerName }
  /**
   * Flows of a migration that was switched are over, seen here: at the target its peers are told (flows as in `ended`); at
   * a peer only `last` counts. `last`: no rule of this migration is left on this node, so that its record may go.
   */
  | { type: 'flowsEnded'; migration: MigrationId; flows: PeerFlow[]; last?: boolean }
  /** The process has begun, with what was persisted; nothing that was asked for before counts any more. */
  | { type: 'restart' };
