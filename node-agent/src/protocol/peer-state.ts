/** What a peer of a migration knows, and what of it is written down. Flows are not: their rules are in the data plane. */
import type { MoveAddresses } from './authorise.js';
import type { WorkName } from './effects.js';
import { newState, run, type RoleState, type Turn } from './machine.js';
import type { MigrationId, NodeName, Nonce, OutcomeWord, PreparePeer, WorkloadName } from './messages.js';

/** `prepared`: rules are pending. `held`: from the first hold to its end, whichever that is. */
export type PeerPhase = 'prepared' | 'held' | 'switched' | 'dropping' | 'givenUp';

/** Work of one migration is done in turn, since each piece depends on the one before. */
export interface Job {
  work: WorkName;
  request: object;
  /** who waits for its end */
  tickets: string[];
  /** flows that are known not to be here, by index; and the index of each that was handed on */
  unknown: number[];
  indices: number[];
  /** of the `hold` that it is for */
  sequence?: number;
}

export interface PeerState extends RoleState<PeerPhase> {
  source: NodeName;
  target: NodeName;
  epoch: number;
  workload: WorkloadName;
  nonce: Nonce;
  addresses: MoveAddresses;
  /** of the last numbered message */
  sequence: number;
  /** the first one is being done */
  jobs: Job[];
  /** flows of `preparePeer` that are not here; absent until it was done by this process */
  installed?: number[];
  /** the same for the last `hold` */
  lastHold?: { sequence: number; unknown: number[] };
  /** it has held, or may have, and the source has not said since that it is put off */
  locking: boolean;
  /** waited for too long, or was restarted: asks what became of it */
  asking: boolean;
  /** questions in a row that nobody could answer */
  unheard: number;
  /** the source's last word */
  word?: OutcomeWord;
  /** no rule is left here */
  over: boolean;
}

export type PeerTurn = Turn<PeerState>;

export function newPeer(
  source: NodeName,
  nonce: Nonce,
  { migration, target, epoch, workload }: Pick<PreparePeer, 'migration' | 'target' | 'epoch' | 'workload'>,
  addresses: MoveAddresses,
  now: number,
): PeerState {
  return {
    ...newState<PeerPhase>(migration, 'prepared', now),
    source,
    target,
    epoch,
    workload,
    nonce,
    addresses,
    sequence: 0,
    jobs: [],
    locking: false,
    asking: false,
    unheard: 0,
    over: false,
  };
}

/** What a restarted agent needs; a switched one also says which epoch of its workload came last. */
export interface PeerRecord {
  migration: MigrationId;
  phase: 'prepared' | 'switched' | 'givenUp';
  reason?: string;
  source: NodeName;
  target: NodeName;
  epoch: number;
  workload: WorkloadName;
  nonce: Nonce;
  addresses: MoveAddresses;
  /** what is older must stay so */
  sequence: number;
}

export function peerRecord(state: PeerState): PeerRecord {
  const { migration, phase, reason, source, target, epoch, workload, nonce, addresses, sequence } = state;
  return {
    migration,
    phase: phase === 'switched' || phase === 'givenUp' ? phase : 'prepared',
    ...(reason === undefined ? {} : { reason }),
    source,
    target,
    epoch,
    workload,
    nonce,
    addresses,
    sequence,
  };
}

/** `restart` makes it go on. Whether it held is not known: it may have. */
export function peerOf(record: PeerRecord, now: number): PeerState {
  const { source, nonce, addresses, phase, reason, sequence } = record;
  return {
    ...newPeer(source, nonce, record, addresses, now),
    ...(reason === undefined ? {} : { reason }),
    phase: phase === 'prepared' ? 'held' : phase,
    locking: phase === 'prepared',
    sequence,
  };
}

/**
 * Another workload's move may not begin while one of its flows is in this state: the other end may be frozen, whether it
 * is still held here or not. One that was only prepared does not count: both ends could wait for each other.
 */
export function isLocking({ phase, locking }: PeerState): boolean {
  return locking && (phase === 'held' || phase === 'prepared');
}

/** From here on the flows are at their next location: nothing is held any more. */
export function isFlipping({ phase, jobs }: PeerState): boolean {
  return phase === 'switched' || jobs.some(({ work }) => work === 'flip');
}

export function enqueue(turn: PeerTurn, job: Pick<Job, 'work' | 'request'> & Partial<Job>): void {
  turn.state.jobs = [...turn.state.jobs, { tickets: [], unknown: [], indices: [], ...job }];
  if (turn.state.jobs.length === 1) beginJob(turn);
}

export function beginJob(turn: PeerTurn): void {
  const [job] = turn.state.jobs;
  if (job !== undefined) run(turn, job.work, job.request as never);
}

/** One more who waits for the end of a job that is there already; false where there is none. */
export function join(turn: PeerTurn, work: WorkName, ticket: string): boolean {
  const index = turn.state.jobs.findIndex((job) => job.work === work);
  const job = turn.state.jobs[index];
  if (job === undefined) return false;
  turn.state.jobs = turn.state.jobs.with(index, { ...job, tickets: [...job.tickets, ticket] });
  return true;
}
