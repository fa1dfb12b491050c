/** What the target of a migration knows, and what of it is written down. Flows are not: their rules are in the data plane. */
import { newState, type RoleState, type Turn } from './machine.js';
import type {
  MigrationId,
  NodeName,
  Nonce,
  PeerFlow,
  PrepareTarget,
  Stray,
  SwitchReport,
  TargetAddresses,
  WorkloadName,
} from './messages.js';

/** In their order; `discarding` and `givenUp` lead away from any before `owner`. */
export type TargetPhase =
  | 'making'
  | 'prepared'
  | 'restoring'
  | 'restored'
  /** released to this node; its pod is being opened */
  | 'owner'
  /** peers are being told, while it is being resumed */
  | 'telling'
  /** the source is being told */
  | 'switching'
  | 'done'
  | 'discarding'
  | 'givenUp';

export interface SwitchedPeer {
  nonce: Nonce;
  told: boolean;
  /** no answer to the last attempt */
  silent: boolean;
  /** to be sent with the next RSYN */
  strays: Stray[];
}

export interface TargetState extends RoleState<TargetPhase> {
  source: NodeName;
  epoch: number;
  workload: WorkloadName;
  /** as in PrepareTarget */
  addresses: string[];
  mover: string;
  image: Record<string, unknown>;
  /** of the pod, once it is there */
  own?: TargetAddresses;
  /** of the last numbered message */
  sequence: number;
  /** of the last one that this process has begun to do */
  handled: number;
  /** who waits for an answer about the pod, and who about rules or the restore */
  podTickets: string[];
  ruleTickets: string[];
  /** why the rules or the restore did not work */
  failure?: string;
  peers: Record<NodeName, SwitchedPeer>;
  /** it runs; until then nobody but the peers is told */
  resumed: boolean;
  /** strays are handed on */
  handsOn: boolean;
  replayed: boolean;
  report: SwitchReport;
  /** the source knows that it may retire */
  acknowledged: boolean;
  /** flows that have ended, to be told with the next message to this node */
  ended: Record<NodeName, PeerFlow[]>;
  /** no rule is left here */
  over: boolean;
}

export type TargetTurn = Turn<TargetState>;

export function newTarget(source: NodeName, message: PrepareTarget, now: number): TargetState {
  const { migration, epoch, workload, addresses, mover, image } = message;
  return {
    ...newState<TargetPhase>(migration, 'making', now),
    source,
    epoch,
    workload,
    addresses,
    mover,
    image,
    sequence: 0,
    handled: 0,
    podTickets: [],
    ruleTickets: [],
    peers: {},
    resumed: false,
    handsOn: false,
    replayed: false,
    report: { resumeMs: 0, switchMs: 0, replayed: 0 },
    acknowledged: false,
    ended: {},
    over: false,
  };
}

/** What a restarted agent needs. */
export interface TargetRecord {
  migration: MigrationId;
  phase: 'prepared' | 'restored' | 'owner' | 'switching' | 'done' | 'givenUp';
  reason?: string;
  source: NodeName;
  epoch: number;
  workload: WorkloadName;
  addresses: string[];
  mover: string;
  image: Record<string, unknown>;
  sequence: number;
  peers: Array<{ node: NodeName; nonce: Nonce; told: boolean }>;
}

const recordPhases: Record<TargetPhase, TargetRecord['phase']> = {
  making: 'prepared',
  prepared: 'prepared',
  restoring: 'prepared',
  restored: 'restored',
  owner: 'owner',
  telling: 'owner',
  switching: 'switching',
  done: 'done',
  discarding: 'prepared',
  givenUp: 'givenUp',
};

export function targetRecord(state: TargetState): TargetRecord {
  const { migration, phase, reason, source, epoch, workload, addresses, mover, image, sequence } = state;
  const peers = Object.entries(state.peers).map(([node, { nonce, told }]) => ({ node, nonce, told }));
  return {
    migration,
    phase: recordPhases[phase],
    ...(reason === undefined ? {} : { reason }),
    source,
    epoch,
    workload,
    addresses,
    mover,
    image,
    sequence,
    peers,
  };
}

/** `restart` makes it go on. */
export function targetOf(record: TargetRecord, now: number): TargetState {
  const { migration, phase, reason, source, epoch, workload, addresses, mover, image } = record;
  const message: PrepareTarget = {
    kind: 'prepareTarget',
    migration,
    epoch,
    workload,
    addresses,
    mover,
    image,
  };
  const hasRun = phase === 'switching' || phase === 'done';
  const peers = record.peers.map(({ node, nonce, told }): [NodeName, SwitchedPeer] => [
    node,
    { nonce, told, silent: false, strays: [] },
  ]);
  return {
    ...newTarget(source, message, now),
    phase,
    resumed: hasRun,
    handsOn: hasRun,
    sequence: record.sequence,
    ...(reason === undefined ? {} : { reason }),
    peers: Object.fromEntries(peers),
  };
}

/** From here on it runs here, and nowhere else. */
export function isOwner({ phase }: TargetState): boolean {
  return phase === 'owner' || phase === 'telling' || phase === 'switching' || phase === 'done';
}

/** A tombstone, or a move that is over: the workload itself is not in the way of anything. */
export function isOver({ phase }: TargetState): boolean {
  return phase === 'done' || phase === 'givenUp';
}
