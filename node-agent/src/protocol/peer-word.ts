/** A peer that waited for too long lets go, and asks what became of the move: the source first, then the target. */
import {
  ask,
  cancelTimer,
  dropRequests,
  enter,
  isAsked,
  note,
  setTimer,
  type OpenRequest,
} from './machine.js';
import type { Reply } from './messages.js';
import { enqueue, type PeerTurn } from './peer-state.js';

/** Nobody may be held for ever. What is held goes where the flow still is; the next location is still understood. */
export function letGo(turn: PeerTurn): void {
  if (turn.state.phase === 'held') {
    enter(turn, 'prepared');
    enqueue(turn, { work: 'unhold', request: {} });
  }
  if (turn.state.phase === 'prepared') askForWord(turn);
}

export function askForWord(turn: PeerTurn): void {
  const { migration, source, target } = turn.state;
  turn.state.asking = true;
  if (isAsked(turn, 'outcome', source) || isAsked(turn, 'outcome', target)) return;
  ask(turn, source, { kind: 'outcome', migration });
}

/** A word from either end of the move is there, or will come by itself. */
export function stopAsking(turn: PeerTurn): void {
  turn.state.asking = false;
  turn.state.unheard = 0;
  delete turn.state.word;
  dropRequests(turn, 'outcome');
  cancelTimer(turn, 'outcome');
}

/** `reply` is absent where there was none. */
export function wordHeard(turn: PeerTurn, { to }: OpenRequest, reply: Reply<'outcome'> | undefined): void {
  const { phase } = turn.state;
  if (phase !== 'prepared' && phase !== 'held') return;
  if (to === turn.state.source) sourceHeard(turn, reply);
  else targetHeard(turn, reply);
}

/** `unknown` may also mean that it is long over: the target knows, it keeps its record until all peers are told. */
function sourceHeard(turn: PeerTurn, reply: Reply<'outcome'> | undefined): void {
  const { migration, target } = turn.state;
  const word = reply?.ok === true ? reply.word : undefined;
  delete turn.state.word;
  if (word !== undefined) turn.state.word = word;
  if (word === 'aborted') drop(turn, 'the source gave it up');
  else if (word === 'undecided') {
    turn.state.unheard = 0;
    askLater(turn);
  } else ask(turn, target, { kind: 'outcome', migration });
}

function targetHeard(turn: PeerTurn, reply: Reply<'outcome'> | undefined): void {
  const { state, context } = turn;
  const word = reply?.ok === true ? reply.word : undefined;
  const release = reply?.ok === true ? reply.release : undefined;
  const isMine = release?.peers.some(({ node, nonce }) => node === context.node && nonce === state.nonce);
  if (word === 'released' && isMine === true) {
    stopAsking(turn);
    enqueue(turn, { work: 'flip', request: { strays: [] } });
  } else if (word === 'aborted') drop(turn, 'the target gave it up');
  else if (word === 'unknown' && state.word === 'unknown') drop(turn, 'neither end of the move knows of it');
  else if (++state.unheard * context.deadlines.outcomeMs > context.deadlines.tombstoneMs)
    drop(turn, 'nobody has answered for too long');
  else askLater(turn);
}

/** Where this node flips by itself, having asked, nobody would tell it again. */
export function askLater(turn: PeerTurn): void {
  turn.state.asking = true;
  setTimer(turn, 'outcome', { ms: turn.context.deadlines.outcomeMs });
}

/** It was given up. Too late once it is switched, or being switched. */
export function drop(turn: PeerTurn, reason: string): void {
  const { state } = turn;
  if (state.phase !== 'prepared' && state.phase !== 'held') return;
  if (state.jobs.some(({ work }) => work === 'flip')) return;
  stopAsking(turn);
  cancelTimer(turn, 'deadline');
  state.reason = reason;
  note(turn, { what: 'givenUp', reason });
  enter(turn, 'dropping');
  enqueue(turn, { work: 'drop', request: {} });
}
