/** The source of a migration: leads until the release. Which event goes where; the steps are in source-*.ts. Pure. */
import type { Event } from './effects.js';
import {
  answer,
  answered,
  enter,
  retry,
  run,
  setTimer,
  takeTurn,
  unanswered,
  workEnded,
  type Context,
  type Incoming,
  type OpenRequest,
  type Step,
} from './machine.js';
import type { MessageKind, OutcomeWord, Reply } from './messages.js';
import {
  frozen,
  giveWay,
  latePeerPrepared,
  lateHeld,
  lookForStrays,
  moved,
  releaseHeard,
  restored,
  retired,
  sendRelease,
  sendStrays,
  straysTaken,
  switched,
} from './source-move.js';
import {
  allTold,
  backOff,
  backoffOver,
  begin,
  held,
  peerPrepared,
  planned,
  quiesced,
  refusedBy,
  targetPrepared,
  unquiesced,
} from './source-prepare.js';
import { endTombstone, giveUp, restartAborted, workEndedAfterwards } from './source-rollback.js';
import { isReleased, newSource, standing, type SourceState, type SourceTurn } from './source-state.js';

type Of<Type extends Event['type']> = Extract<Event, { type: Type }>;
export type SourceEvent = Of<'cancel' | 'replied' | 'unreached' | 'done' | 'failed' | 'timeout' | 'restart'>;

export function startSource(event: Of<'start'>, context: Context): Step<SourceState> {
  return takeTurn('source', newSource(event, context.now), context, begin);
}

export function stepSource(state: SourceState, event: SourceEvent, context: Context): Step<SourceState> {
  return takeTurn('source', state, context, (turn) => {
    if (event.type === 'cancel') giveUp(turn, 'it was cancelled');
    else if (event.type === 'restart') restart(turn);
    else if (event.type === 'timeout') timeout(turn, event.timer);
    else if (event.type === 'unreached') unanswered(turn, event.request);
    else if (event.type === 'replied') replied(turn, event);
    else if (workEnded(turn, event)) ended(turn, event);
  });
}

/** `switched` and `outcome` are all that a source is asked. */
export function tellSource(
  state: SourceState,
  incoming: Incoming<'switched' | 'outcome'>,
  context: Context,
): Step<SourceState> {
  return takeTurn('source', state, context, (turn) => {
    if (incoming.message.kind === 'switched') switched(turn, incoming as Incoming<'switched'>);
    else outcome(turn, incoming as Incoming<'outcome'>);
  });
}

/** A migration with a lower id wants to hold the other end of one of its flows. */
export function yieldSource(
  state: SourceState,
  { from, message: { migration } }: Incoming<'hold'>,
  context: Context,
): Step<SourceState> {
  return takeTurn('source', state, context, (turn) => {
    if (standing(state) === 'holding') backOff(turn, `migration ${migration} goes first`);
    else if (standing(state) === 'after') giveWay(turn, from, migration);
  });
}

function replied(turn: SourceTurn, event: Of<'replied'>): void {
  const asked = answered(turn, event.request);
  if (asked === undefined) return;
  const handlers: Partial<
    Record<MessageKind, (turn: SourceTurn, asked: OpenRequest, reply: never) => unknown>
  > = {
    prepareTarget: targetPrepared,
    targetFlows: targetTold,
    preparePeer: beforeFreeze(turn) ? oncePrepared : latePeerPrepared,
    hold: beforeFreeze(turn) ? held : heldAfterFreeze,
    restore: restored,
    release: releaseHeard,
    strays: sendStrays,
  };
  handlers[asked.message.kind]?.(turn, asked, event.reply as never);
}

function beforeFreeze({ state }: SourceTurn): boolean {
  return standing(state) === 'before' || standing(state) === 'holding';
}

function targetTold(turn: SourceTurn, asked: OpenRequest, reply: Reply<'targetFlows'>): void {
  if (reply.ok) allTold(turn);
  else giveUp(turn, refusedBy(asked, reply));
}

function oncePrepared(turn: SourceTurn, asked: OpenRequest, reply: Reply<'preparePeer'>): void {
  if (peerPrepared(turn, asked, reply)) allTold(turn);
}

/** Once it is released only flows that have ended are still told, and nobody waits for that. */
function heldAfterFreeze(turn: SourceTurn, asked: OpenRequest, reply: Reply<'hold'>): void {
  if (!isReleased(turn.state)) lateHeld(turn, asked, reply);
}

function ended(turn: SourceTurn, event: Of<'done' | 'failed'>): void {
  const { phase } = turn.state;
  if (phase === 'rollingBack' || phase === 'aborted') workEndedAfterwards(turn, event.work);
  else if (event.work === 'takeStrays') straysTaken(turn, event.type === 'done' ? event.result : undefined);
  else if (event.type === 'failed') giveUp(turn, `${event.work} failed: ${event.reason}`);
  else done(turn, event);
}

function done(turn: SourceTurn, event: Of<'done'>): void {
  switch (event.work) {
    case 'plan':
      return planned(turn, event.result);
    case 'quiesce':
      return quiesced(turn, event.result.left);
    case 'unquiesce':
      return unquiesced(turn);
    case 'freeze':
      return frozen(turn, event.result);
    case 'move':
      return moved(turn);
    case 'retire':
      return retired(turn);
  }
}

function timeout(turn: SourceTurn, timer: Of<'timeout'>['timer']): void {
  const { phase } = turn.state;
  if (timer === 'retry') retry(turn);
  else if (timer === 'backoff') backoffOver(turn);
  else if (timer === 'strays') lookForStrays(turn);
  else if (timer === 'deadline') giveUp(turn, `it took too long: the deadline ran out while ${phase}`);
  else if (timer === 'settle') endTombstone(turn);
}

function restart(turn: SourceTurn): void {
  const { state } = turn;
  if (state.phase === 'released') {
    state.release = {
      peers: Object.entries(state.peers).flatMap(([node, { nonce }]) =>
        nonce === undefined ? [] : { node, nonce },
      ),
      strays: [],
    };
    enter(turn, 'released');
    sendRelease(turn);
  } else if (state.phase === 'retiring')
    run(turn, 'retire', { epoch: state.epoch, addresses: state.targetAddresses });
  else if (state.phase === 'retired') setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
  else if (state.phase === 'aborted') restartAborted(turn);
  else giveUp(turn, 'the agent was restarted');
}

/** The target gets all that the release says; a peer only the word, since the target tells it the rest. */
function outcome(turn: SourceTurn, { from, ticket }: Incoming<'outcome'>): void {
  const { state } = turn;
  const isForTarget = from === state.target;
  const word = isForTarget || state.peers[from] !== undefined ? wordOf(state) : 'unknown';
  const release = word === 'released' && isForTarget ? state.release : undefined;
  answer(turn, ticket, { ok: true, word, ...(release === undefined ? {} : { release }) });
}

function wordOf(state: SourceState): OutcomeWord {
  if (isReleased(state)) return 'released';
  return state.phase === 'rollingBack' || state.phase === 'aborted' ? 'aborted' : 'undecided';
}
