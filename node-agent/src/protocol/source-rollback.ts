/** The source gives a move up: before the release, at any moment. It thaws at once, then tells everybody. */
import {
  ask,
  cancelTimer,
  dropRequests,
  enter,
  forgetState,
  note,
  persist,
  run,
  runsAnything,
  setTimer,
} from './machine.js';
import { isReleased, type SourcePhase, type SourceTurn } from './source-state.js';

/** Here nothing of the workload was touched yet. */
const harmless: ReadonlySet<SourcePhase> = new Set(['preparing', 'planning', 'telling']);

/** Nothing is done after the release, when it is too late, or when it is given up already. */
export function giveUp(turn: SourceTurn, reason: string): void {
  const { state } = turn;
  const { phase } = state;
  if (isReleased(state) || phase === 'rollingBack' || phase === 'aborted') return;
  state.reason = reason;
  note(turn, { what: 'givenUp', reason });
  cancelTimer(turn, 'deadline');
  cancelTimer(turn, 'backoff');
  // Peers that had no flows left are still being told.
  for (const [key, { message }] of Object.entries(state.requests))
    if (message.kind !== 'abort') delete state.requests[key];
  enter(turn, 'rollingBack');
  if (harmless.has(phase)) tellEverybody(turn);
  else run(turn, 'thaw', {});
}

function tellEverybody(turn: SourceTurn): void {
  const { state } = turn;
  enter(turn, 'aborted');
  state.settled = !runsAnything(turn);
  persist(turn);
  for (const node of new Set([state.target, ...Object.keys(state.peers)]))
    ask(turn, node, { kind: 'abort', migration: state.migration });
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}

/** Work has ended while it is being given up, or later. */
export function workEndedAfterwards(turn: SourceTurn, work: string): void {
  const { state } = turn;
  if (work === 'thaw') run(turn, 'unquiesce', {});
  // Whatever still ran when the thaw was asked for may have undone it.
  else if (work === 'quiesce' || work === 'freeze' || work === 'move') run(turn, 'thaw', {});
  if (state.phase === 'rollingBack') {
    if (work === 'thaw') tellEverybody(turn);
  } else if (!state.settled && !runsAnything(turn)) {
    state.settled = true;
    persist(turn);
  }
}

/** It was remembered for long enough. */
export function endTombstone(turn: SourceTurn): void {
  if (runsAnything(turn)) {
    setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
    return;
  }
  dropRequests(turn, 'abort');
  forgetState(turn);
}

/** The thaw may have been undone by work that ended after it; but once all was quiet another migration may have begun. */
export function restartAborted(turn: SourceTurn): void {
  const { state } = turn;
  if (!state.settled) run(turn, 'thaw', {});
  for (const node of new Set([state.target, ...Object.keys(state.peers)]))
    ask(turn, node, { kind: 'abort', migration: state.migration });
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}
