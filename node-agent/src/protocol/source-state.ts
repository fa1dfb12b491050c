/** What the source of a migration knows. Only a small part of it is ever written down: flows are listed again. */
import { noPlan, type Event, type Plan } from './effects.js';
import { newState, type RoleState, type Turn } from './machine.js';
import type {
  MigrationId,
  NodeName,
  Nonce,
  PeerFlow,
  Release,
  Stray,
  SwitchReport,
  TargetAddresses,
  TargetFlow,
  WorkloadName,
} from './messages.js';

/** In their order; then the two that lead back. */
export const sourcePhases = [
  'preparing',
  'planning',
  'telling',
  'quiescing',
  'holding',
  'backingOff',
  'freezing',
  'moving',
  'restoring',
  'restored',
  'released',
  'retiring',
  'retired',
  'rollingBack',
  'aborted',
] as const;

export type SourcePhase = (typeof sourcePhases)[number];

export interface ToldPeer {
  /** from its answer to prepare */
  nonce?: Nonce;
  /** what it surely knows */
  told: PeerFlow[];
  /** what it may know of besides: not there when it was told, or sent with a hold whose answer was not waited for */
  perhaps: PeerFlow[];
  /** of the last numbered message to it */
  sequence: number;
}

export interface SourceState extends RoleState<SourcePhase> {
  epoch: number;
  workload: WorkloadName;
  target: NodeName;
  mover: string;
  image: Record<string, unknown>;
  addresses: string[];
  targetAddresses: TargetAddresses;
  plan: Plan;
  toldTarget: TargetFlow[];
  targetSequence: number;
  peers: Record<NodeName, ToldPeer>;
  /** a flow's other end has moved, or is about to, since the plan was asked for */
  stale: boolean;
  quiesced: boolean;
  /** how often it was put off */
  rounds: number;
  /** flows that the peers' nodes did not know in this round */
  unknown: number;
  strays: Stray[];
  /** what the release says; present from then on */
  release?: Pick<Release, 'peers' | 'strays'>;
  /** how the switch went, as the target says */
  report?: SwitchReport;
  /** given up, and nothing runs any more that could disturb the workload */
  settled: boolean;
}

export type SourceTurn = Turn<SourceState>;

type Start = Extract<Event, { type: 'start' }>;

export function newSource(start: Start, now: number): SourceState {
  const { migration, epoch, workload, target, mover, image, addresses } = start;
  return {
    ...newState<SourcePhase>(migration, 'preparing', now),
    epoch,
    workload,
    target,
    mover,
    image,
    addresses,
    targetAddresses: {},
    plan: noPlan,
    toldTarget: [],
    targetSequence: 0,
    peers: {},
    stale: false,
    quiesced: false,
    rounds: 0,
    unknown: 0,
    strays: [],
    settled: false,
  };
}

/** What a restarted agent needs. */
export interface SourceRecord {
  migration: MigrationId;
  phase: 'started' | 'released' | 'retiring' | 'retired' | 'aborted';
  reason?: string;
  epoch: number;
  workload: WorkloadName;
  target: NodeName;
  addresses: string[];
  targetAddresses: TargetAddresses;
  /** all that were told of it; with nonces once it is released */
  peers: Array<{ node: NodeName; nonce?: Nonce }>;
  settled: boolean;
}

function recordPhase(phase: SourcePhase): SourceRecord['phase'] {
  const isRecorded =
    phase === 'released' || phase === 'retiring' || phase === 'retired' || phase === 'aborted';
  return isRecorded ? phase : 'started';
}

export function sourceRecord(state: SourceState): SourceRecord {
  const { migration, phase, reason, epoch, workload, target, addresses, targetAddresses, settled } = state;
  return {
    migration,
    phase: recordPhase(phase),
    ...(reason === undefined ? {} : { reason }),
    epoch,
    workload,
    target,
    addresses,
    targetAddresses,
    peers: Object.entries(state.peers).map(([node, { nonce }]) => ({
      node,
      ...(nonce === undefined ? {} : { nonce }),
    })),
    settled,
  };
}

/** `restart` makes it go on. */
export function sourceOf(record: SourceRecord, now: number): SourceState {
  const { migration, epoch, workload, target, addresses, targetAddresses } = record;
  const start: Start = { type: 'start', migration, epoch, workload, target, mover: '', image: {}, addresses };
  const state = newSource(start, now);
  const peers = record.peers.map(({ node, nonce }): [NodeName, ToldPeer] => [
    node,
    { told: [], perhaps: [], sequence: 0, ...(nonce === undefined ? {} : { nonce }) },
  ]);
  return {
    ...state,
    ...(record.reason === undefined ? {} : { reason: record.reason }),
    phase: record.phase === 'started' ? 'moving' : record.phase,
    targetAddresses,
    peers: Object.fromEntries(peers),
    settled: record.settled,
  };
}

/** How far it is, as the other ends of its flows must know it (docs/protocol.md, both ends at once). */
export type Standing = 'before' | 'holding' | 'after' | 'over';

const standings: Record<SourcePhase, Standing> = {
  preparing: 'before',
  planning: 'before',
  telling: 'before',
  quiescing: 'before',
  holding: 'holding',
  backingOff: 'before',
  freezing: 'after',
  moving: 'after',
  restoring: 'after',
  restored: 'after',
  released: 'after',
  retiring: 'after',
  retired: 'over',
  rollingBack: 'after',
  aborted: 'over',
};

export function standing({ phase }: SourceState): Standing {
  return standings[phase];
}

export function isReleased({ phase }: SourceState): boolean {
  return phase === 'released' || phase === 'retiring' || phase === 'retired';
}
