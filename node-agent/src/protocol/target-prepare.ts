/** The target until the release: pod, rules, restore, stand still; and away with it all when the move is given up. */
import { isOwn, isSource } from './authorise.js';
import { isEmpty } from './difference.js';
import {
  answer,
  ask,
  cancelTimer,
  dropRequests,
  enter,
  isAsked,
  note,
  persist,
  refusal,
  refuse,
  run,
  runs,
  runsAnything,
  setTimer,
  type Incoming,
} from './machine.js';
import type { Refused, Reply } from './messages.js';
import { isOwner, type TargetTurn } from './target-state.js';

/** It was accepted: this comes first. */
export function make(turn: TargetTurn, ticket: string): void {
  persist(turn);
  note(turn, { what: 'phase', phase: 'making' });
  waitForWord(turn);
  makePod(turn, ticket);
}

function makePod(turn: TargetTurn, ticket: string): void {
  const { workload, addresses, mover, image, podTickets } = turn.state;
  turn.state.podTickets = [...podTickets, ticket];
  if (!runs(turn, 'makePod')) run(turn, 'makePod', { workload, addresses, mover, image });
}

/** Asked again. After a restart the pod's addresses have to be found again. */
export function prepareAgain(turn: TargetTurn, incoming: Incoming<'prepareTarget'>): void {
  const { own } = turn.state;
  const refused = isSource(incoming.from, turn.state) ?? isGivenUp(turn);
  if (refused !== undefined) refuse(turn, incoming, refused);
  else if (own !== undefined) answer(turn, incoming.ticket, { ok: true, addresses: own });
  else makePod(turn, incoming.ticket);
}

export function isGivenUp({ state: { phase, reason } }: TargetTurn): Refused | undefined {
  return phase === 'discarding' || phase === 'givenUp'
    ? refusal('givenUp', reason ?? 'it was given up')
    : undefined;
}

/** A target asks the source for its word again and again: neither side may stand still for ever. */
function waitForWord(turn: TargetTurn): void {
  setTimer(turn, 'outcome', { ms: turn.context.deadlines.outcomeMs });
}

export function askForWord(turn: TargetTurn): void {
  const { source, migration } = turn.state;
  if (!isAsked(turn, 'outcome', source)) ask(turn, source, { kind: 'outcome', migration });
}

export function undecided(turn: TargetTurn): void {
  waitForWord(turn);
}

/** `targetFlows` or `restore`: both may change the rules. */
export function rules(turn: TargetTurn, incoming: Incoming<'targetFlows' | 'restore'>): void {
  const { message, ticket } = incoming;
  const { state } = turn;
  const refused = isSource(incoming.from, state) ?? isGivenUp(turn) ?? isTimely(turn, incoming);
  if (refused !== undefined) return refuse(turn, incoming, refused);
  // Once it is written down as restored all this was done, whatever this process knows: only the answer was lost.
  const isPast = state.phase === 'restored' || isOwner(state);
  const isNew = message.sequence > state.handled && !isPast;
  // What is older must stay so after a restart; before the first there is nothing. A restore is written down when it is
  // done: now nothing may wait for the disk.
  const isLater = message.sequence > Math.max(1, state.sequence);
  const mustRemember = isLater && message.kind === 'targetFlows';
  state.sequence = state.handled = message.sequence;
  if (mustRemember) persist(turn);
  state.ruleTickets = [...state.ruleTickets, ticket];
  if (isNew) {
    delete state.failure;
    if (!isEmpty(message.flows)) run(turn, 'applyRules', { flows: message.flows });
    if (message.kind === 'restore') restore(turn);
  }
  rulesReady(turn);
}

function isTimely(turn: TargetTurn, { message }: Incoming<'targetFlows' | 'restore'>): Refused | undefined {
  const { state } = turn;
  if (state.phase === 'making' || message.sequence < state.sequence)
    return refusal('conflict', 'it is late, or comes before the pod is there');
  if (message.sequence > state.sequence && isOwner(state)) return refusal('conflict', 'it runs here already');
  return state.own === undefined ? undefined : isOwn(message.flows.add, Object.values(state.own) as string[]);
}

function restore(turn: TargetTurn): void {
  enter(turn, 'restoring');
  run(turn, 'restore', {});
}

/** Answers when nothing is under way any more, rules and restore alike. */
function rulesReady(turn: TargetTurn): void {
  const { state } = turn;
  if (runs(turn, 'applyRules') || runs(turn, 'restore')) return;
  if (state.phase === 'restoring') {
    if (state.failure !== undefined) return discard(turn, state.failure, refusal('failed', state.failure));
    enter(turn, 'restored');
    persist(turn);
  }
  answerAll(
    turn,
    'ruleTickets',
    state.failure === undefined ? { ok: true } : refusal('failed', state.failure),
  );
}

function answerAll(turn: TargetTurn, which: 'podTickets' | 'ruleTickets', reply: Reply): void {
  for (const ticket of turn.state[which]) answer(turn, ticket, reply);
  turn.state[which] = [];
}

/** Kill what there is, at once, and once more when what is still under way has ended. Never after the release. */
export function discard(turn: TargetTurn, reason: string, reply = refusal('givenUp', reason)): void {
  const { state } = turn;
  if (isOwner(state) || isGivenUp(turn) !== undefined) return;
  state.reason = reason;
  note(turn, { what: 'givenUp', reason });
  answerAll(turn, 'podTickets', reply);
  answerAll(turn, 'ruleTickets', reply);
  dropRequests(turn, 'outcome');
  cancelTimer(turn, 'outcome');
  enter(turn, 'discarding');
  run(turn, 'discard', {});
}

export function prepareEnded(turn: TargetTurn, work: string, failure: string | undefined): void {
  const { state } = turn;
  if (state.phase === 'discarding' || state.phase === 'givenUp') discardEnded(turn, work);
  else if (work === 'makePod') podMade(turn, failure);
  else {
    if (failure !== undefined) state.failure = `${work} failed: ${failure}`;
    rulesReady(turn);
  }
}

function podMade(turn: TargetTurn, failure: string | undefined): void {
  const { state } = turn;
  if (failure !== undefined) {
    const reason = `makePod failed: ${failure}`;
    discard(turn, reason, refusal('failed', reason));
    return;
  }
  if (state.phase === 'making') enter(turn, 'prepared');
  answerAll(turn, 'podTickets', { ok: true, addresses: state.own ?? {} });
}

function discardEnded(turn: TargetTurn, work: string): void {
  if (work !== 'discard') run(turn, 'discard', {});
  if (runsAnything(turn) || turn.state.phase === 'givenUp') return;
  enter(turn, 'givenUp');
  persist(turn);
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}
