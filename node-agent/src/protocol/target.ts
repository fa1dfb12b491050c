/** The target of a migration: leads from the release on. Which event goes where; the steps are in target-*.ts. Pure. */
import { isFresh, mayPrepareTarget } from './authorise.js';
import type { Event } from './effects.js';
import {
  answered,
  ask,
  dropRequests,
  forgetState,
  refusal,
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
import type { Refused, Reply } from './messages.js';
import { askForWord, discard, make, prepareAgain, prepareEnded, rules, undecided } from './target-prepare.js';
import { newTarget, type TargetState, type TargetTurn } from './target-state.js';
import {
  endedAnswered,
  flowsEnded,
  giveUpMissing,
  graceOver,
  missing,
  newcomers,
  opened,
  outcomeForPeer,
  own,
  released,
  resumed,
  rsynAnswered,
  silent,
  strays,
  switchedAnswered,
} from './target-switch.js';

type Of<Type extends Event['type']> = Extract<Event, { type: Type }>;
export type TargetEvent = Of<
  'replied' | 'unreached' | 'done' | 'failed' | 'timeout' | 'restart' | 'flowsEnded'
>;
export type TargetMessage = Incoming<
  'prepareTarget' | 'targetFlows' | 'restore' | 'release' | 'strays' | 'abort' | 'outcome'
>;

/** What there is against it. `lastEpoch`: of the last move of this workload to or from here. */
export function refusesTarget(
  { from, message }: Incoming<'prepareTarget'>,
  { node, directory }: Context,
  lastEpoch: number | undefined,
): Refused | undefined {
  if (from === node) return refusal('conflict', 'source and target are the same node');
  return mayPrepareTarget(message, from, directory) ?? isFresh(message, lastEpoch);
}

export function prepareTarget(incoming: Incoming<'prepareTarget'>, context: Context): Step<TargetState> {
  const state = newTarget(incoming.from, incoming.message, context.now);
  return takeTurn('target', state, context, (turn) => make(turn, incoming.ticket));
}

/** A move that was given up before this node heard of it. In memory only: a restarted target asks the source anyway. */
export function buryTarget(incoming: Incoming<'abort'>, context: Context): Step<TargetState> {
  const message = { kind: 'prepareTarget', migration: incoming.message.migration } as const;
  const state = newTarget(
    incoming.from,
    { ...message, epoch: 0, workload: { name: '', uid: '' }, addresses: [], mover: '', image: {} },
    context.now,
  );
  return takeTurn('target', { ...state, phase: 'givenUp' }, context, (turn) =>
    setTimer(turn, 'settle', { ms: context.deadlines.tombstoneMs }),
  );
}

export function stepTarget(state: TargetState, event: TargetEvent, context: Context): Step<TargetState> {
  return takeTurn('target', state, context, (turn) => {
    if (event.type === 'restart') restart(turn);
    else if (event.type === 'timeout') timeout(turn, event.timer);
    else if (event.type === 'unreached') unreached(turn, event.request);
    else if (event.type === 'replied') replied(turn, event);
    else if (event.type === 'flowsEnded') flowsEnded(turn, event.flows, event.last === true);
    else if (workEnded(turn, event)) ended(turn, event);
  });
}

/** An `abort` is answered by the agent, which may have it for a peer as well. */
export function tellTarget(state: TargetState, incoming: TargetMessage, context: Context): Step<TargetState> {
  return takeTurn('target', state, context, (turn) => {
    switch (incoming.message.kind) {
      case 'prepareTarget':
        return prepareAgain(turn, incoming as Incoming<'prepareTarget'>);
      case 'targetFlows':
      case 'restore':
        return rules(turn, incoming as Incoming<'targetFlows' | 'restore'>);
      case 'release':
        return released(turn, incoming as Incoming<'release'>);
      case 'strays':
        return strays(turn, incoming as Incoming<'strays'>);
      case 'abort':
        return discard(turn, 'the source gave it up');
      case 'outcome':
        return outcomeForPeer(turn, incoming as Incoming<'outcome'>);
    }
  });
}

function replied(turn: TargetTurn, event: Of<'replied'>): void {
  const asked = answered(turn, event.request);
  if (asked === undefined) return;
  const { kind } = asked.message;
  if (kind === 'outcome') wordHeard(turn, event.reply as Reply<'outcome'>);
  else if (kind === 'rsyn') rsynAnswered(turn, asked, event.reply as Reply<'rsyn'>);
  else if (kind === 'switched') switchedAnswered(turn);
  else if (kind === 'ended') endedAnswered(turn, asked);
}

function unreached(turn: TargetTurn, request: string): void {
  const asked: OpenRequest | undefined = unanswered(turn, request);
  if (asked?.message.kind === 'rsyn') silent(turn, asked.to);
}

function wordHeard(turn: TargetTurn, reply: Reply<'outcome'>): void {
  const word = reply.ok ? reply.word : 'undecided';
  if (word === 'aborted' || word === 'unknown') discard(turn, `the source says that it is ${word}`);
  else if (word === 'released' && turn.state.phase === 'restored')
    own(turn, { peers: [], strays: [], ...(reply.ok ? reply.release : {}) });
  else undecided(turn);
}

function ended(turn: TargetTurn, event: Of<'done' | 'failed'>): void {
  const { work } = event;
  if (work === 'open') return opened(turn);
  if (work === 'resume') return resumed(turn);
  if (work === 'replayOwn') return;
  if (event.type === 'done' && work === 'makePod') turn.state.own = event.result.addresses;
  prepareEnded(turn, work, event.type === 'failed' ? event.reason : undefined);
}

function timeout(turn: TargetTurn, timer: Of<'timeout'>['timer']): void {
  if (timer === 'retry') retry(turn);
  else if (timer === 'outcome') askForWord(turn);
  else if (timer === 'strays') newcomers(turn);
  else if (timer === 'deadline') graceOver(turn);
  else if (timer === 'settle') {
    if (turn.state.phase !== 'givenUp') return giveUpMissing(turn);
    dropRequests(turn, 'outcome');
    forgetState(turn);
  }
}

/** Prepared or restored: only the source knows what became of it. Owner: from the beginning, which is harmless. */
function restart(turn: TargetTurn): void {
  const { state, context } = turn;
  if (state.phase === 'prepared' || state.phase === 'restored') askForWord(turn);
  else if (state.phase === 'owner') run(turn, 'open', { epoch: state.epoch });
  else if (state.phase === 'givenUp') setTimer(turn, 'settle', { ms: context.deadlines.tombstoneMs });
  else if (state.phase === 'switching') switchAgain(turn);
}

function switchAgain(turn: TargetTurn): void {
  const { source, migration, epoch, peers } = turn.state;
  turn.state.replayed = true;
  run(turn, 'replayOwn', {});
  const nodes = missing(turn);
  for (const node of nodes) {
    const nonce = peers[node]?.nonce ?? '';
    ask(turn, node, { kind: 'rsyn', migration, epoch, nonce, strays: [] });
  }
  ask(turn, source, { kind: 'switched', migration, missing: nodes, report: turn.state.report });
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}
