/** What comes of a peer's work: answers, phases, what is written down. */
import type { Event } from './effects.js';
import { answer, cancelTimer, enter, persist, refusal, setTimer } from './machine.js';
import type { Refused, Reply } from './messages.js';
import { beginJob, type Job, type PeerTurn } from './peer-state.js';
import { askLater, stopAsking } from './peer-word.js';

type Ended = Extract<Event, { type: 'done' | 'failed' }>;

export function jobEnded(turn: PeerTurn, event: Ended): void {
  const [job, ...others] = turn.state.jobs;
  if (job === undefined || job.work !== event.work) return;
  turn.state.jobs = others;
  const reply =
    event.type === 'done'
      ? done(turn, job, event)
      : refusal('failed', `${event.work} failed: ${event.reason}`);
  for (const ticket of job.tickets) answer(turn, ticket, reply);
  if (event.type === 'failed' && event.work === 'flip') askLater(turn);
  beginJob(turn);
}

function done(turn: PeerTurn, job: Job, event: Extract<Ended, { type: 'done' }>): Reply {
  const { state } = turn;
  switch (event.work) {
    case 'install':
      state.installed = unknownOf(job, event.result.unknown);
      return { ok: true, nonce: state.nonce, unknown: state.installed };
    case 'hold': {
      const unknown = unknownOf(job, event.result.unknown);
      state.lastHold = { sequence: job.sequence ?? 0, unknown };
      return { ok: true, unknown };
    }
    case 'flip':
      return flipped(turn, event.result.replayed);
    case 'forget':
      // It may have been a `hold` that came late.
      return { ok: true, unknown: [] };
    case 'drop':
      dropped(turn);
      return { ok: true };
    default:
      return { ok: true };
  }
}

/** Of the work's own list and of those that were not even handed on, by the index of the message. */
function unknownOf({ unknown, indices }: Job, found: readonly number[]): number[] {
  return [...unknown, ...found.map((index) => indices[index] ?? index)].sort((a, b) => a - b);
}

/** Written down before the answer: the target would not tell again. */
function flipped(turn: PeerTurn, replayed: number): Reply<'rsyn'> | Refused {
  if (turn.state.phase === 'dropping' || turn.state.phase === 'givenUp')
    return refusal('givenUp', turn.state.reason ?? 'it was given up');
  if (turn.state.phase !== 'switched') {
    stopAsking(turn);
    cancelTimer(turn, 'deadline');
    enter(turn, 'switched');
    persist(turn);
    setTimer(turn, 'settle', { ms: turn.context.deadlines.settleMs });
  }
  return { ok: true, replayed };
}

function dropped(turn: PeerTurn): void {
  enter(turn, 'givenUp');
  persist(turn);
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}
