/** A peer of a migration: its node hosts the other ends of some of the moving workload's flows. Pure. */
import {
  hasNonce,
  isFresh,
  isOfMove,
  isSource,
  isTarget,
  mayMove,
  mayRsyn,
  mergeAddresses,
  moveAddresses,
  type MoveAddresses,
} from './authorise.js';
import type { Event } from './effects.js';
import {
  answer,
  answered,
  dropRequests,
  enter,
  forgetState,
  note,
  persist,
  refusal,
  refuse,
  retry,
  setTimer,
  takeTurn,
  workEnded,
  type Context,
  type Incoming,
  type Step,
} from './machine.js';
import type { Hold, PeerFlow, Refused, Reply } from './messages.js';
import { jobEnded } from './peer-jobs.js';
import { enqueue, isFlipping, join, newPeer, type Job, type PeerState, type PeerTurn } from './peer-state.js';
import { askForWord, drop, letGo, stopAsking, wordHeard } from './peer-word.js';

type Of<Type extends Event['type']> = Extract<Event, { type: Type }>;
export type PeerEvent = Of<
  'replied' | 'unreached' | 'done' | 'failed' | 'timeout' | 'restart' | 'flowsEnded'
>;
export type PeerMessage = Incoming<'preparePeer' | 'hold' | 'unhold' | 'rsyn' | 'abort' | 'ended'>;

/** What there is against it. `lastEpoch`: of the last switch of this workload that came here. */
export function refusesPeer(
  { from, message }: Incoming<'preparePeer'>,
  { directory }: Context,
  lastEpoch: number | undefined,
): Refused | undefined {
  return (
    mayMove(moveAddresses(message.flows), from, message.target, directory) ?? isFresh(message, lastEpoch)
  );
}

export function preparePeer(incoming: Incoming<'preparePeer'>, context: Context): Step<PeerState> {
  const { from, nonce, message } = incoming;
  const state = newPeer(from, nonce, message, here(moveAddresses(message.flows), context), context.now);
  return takeTurn('peer', state, context, (turn) => {
    persist(turn);
    note(turn, { what: 'phase', phase: 'prepared' });
    setTimer(turn, 'deadline', { ms: context.deadlines.peerHoldMs });
    install(turn, incoming);
  });
}

/** A move that was given up before this node heard of it. In memory only: a restarted peer asks the source anyway. */
export function buryPeer({ from, nonce, message }: Incoming<'abort'>, context: Context): Step<PeerState> {
  const nowhere: MoveAddresses = { now: [], next: [], own: [] };
  const about = { migration: message.migration, target: '', epoch: 0, workload: { name: '', uid: '' } };
  const state = newPeer(from, nonce, about, nowhere, context.now);
  return takeTurn('peer', { ...state, phase: 'givenUp' }, context, (turn) =>
    setTimer(turn, 'settle', { ms: context.deadlines.tombstoneMs }),
  );
}

/** Addresses that are not here have no rules here. */
function here(addresses: MoveAddresses, { node, directory }: Context): MoveAddresses {
  return { ...addresses, own: addresses.own.filter((address) => directory.hosts(node, address)) };
}

/** Flows whose end is here, and which of the list they are. */
function sortOut(flows: readonly PeerFlow[], { node, directory }: Context) {
  const hosted = new Map<string, boolean>();
  const sorted: { known: PeerFlow[] } & Pick<Job, 'indices' | 'unknown'> = {
    known: [],
    indices: [],
    unknown: [],
  };
  for (const [index, flow] of flows.entries()) {
    const { address } = flow.peer;
    if (!hosted.has(address)) hosted.set(address, directory.hosts(node, address));
    if (hosted.get(address) !== true) sorted.unknown.push(index);
    else {
      sorted.known.push(flow);
      sorted.indices.push(index);
    }
  }
  return sorted;
}

function install(turn: PeerTurn, { ticket, message }: Incoming<'preparePeer'>): void {
  const { known, ...lists } = sortOut(message.flows, turn.context);
  enqueue(turn, { work: 'install', request: { flows: known }, tickets: [ticket], ...lists });
}

export function stepPeer(state: PeerState, event: PeerEvent, context: Context): Step<PeerState> {
  return takeTurn('peer', state, context, (turn) => {
    if (event.type === 'restart') restart(turn);
    else if (event.type === 'timeout') timeout(turn, event.timer);
    else if (event.type === 'unreached') unreached(turn, event.request);
    else if (event.type === 'replied') replied(turn, event);
    else if (event.type === 'flowsEnded') flowsEnded(turn, event.last === true);
    else if (workEnded(turn, event)) jobEnded(turn, event);
  });
}

/** An `abort` is answered by the agent, which may have it for a target as well. */
export function tellPeer(state: PeerState, incoming: PeerMessage, context: Context): Step<PeerState> {
  return takeTurn('peer', state, context, (turn) => {
    switch (incoming.message.kind) {
      case 'preparePeer':
        return prepareAgain(turn, incoming as Incoming<'preparePeer'>);
      case 'hold':
        return hold(turn, incoming as Incoming<'hold'>);
      case 'unhold':
        return unhold(turn, incoming as Incoming<'unhold'>);
      case 'rsyn':
        return rsyn(turn, incoming as Incoming<'rsyn'>);
      case 'abort':
        return drop(turn, 'the source gave it up');
      case 'ended':
        return ended(turn, incoming as Incoming<'ended'>);
    }
  });
}

function isGivenUp({ phase, reason }: PeerState): Refused | undefined {
  return phase === 'dropping' || phase === 'givenUp'
    ? refusal('givenUp', reason ?? 'it was given up')
    : undefined;
}

function prepareAgain(turn: PeerTurn, incoming: Incoming<'preparePeer'>): void {
  const { state } = turn;
  const refused = isSource(incoming.from, state) ?? isGivenUp(state);
  if (refused !== undefined) return refuse(turn, incoming, refused);
  const { nonce } = state;
  // Whoever has gone on from there does not ask any more: this is late, and its list is old.
  const installed = state.phase === 'switched' || state.sequence > 0 ? [] : state.installed;
  if (installed !== undefined) answer(turn, incoming.ticket, { ok: true, nonce, unknown: installed });
  else if (!join(turn, 'install', incoming.ticket)) install(turn, incoming);
}

/** What there is against a hold, but for other moves; undefined as well where it was answered before. */
export function refusesHold(
  state: PeerState,
  { from, message }: Incoming<'hold'>,
  context: Context,
): Refused | undefined {
  const { addresses, source, target, sequence } = state;
  return (
    isSource(from, state) ??
    hasNonce(message.nonce, state) ??
    isGivenUp(state) ??
    isTimely(message, sequence) ??
    mayMove(moveAddresses(message.flows.add), source, target, context.directory) ??
    (isFlipping(state) ? onlyEnded(message) : isHere(addresses, message, context))
  );
}

function isTimely({ sequence }: { sequence: number }, last: number): Refused | undefined {
  return sequence < last
    ? refusal('conflict', `it is late: ${last} was heard before ${sequence}`)
    : undefined;
}

function onlyEnded({ flows }: Hold): Refused | undefined {
  return flows.add.length === 0 ? undefined : refusal('conflict', 'the flows are at their next location');
}

/** The other end of what was prepared may have moved away, and the source may not know yet. */
function isHere({ own }: MoveAddresses, { flows }: Hold, { node, directory }: Context): Refused | undefined {
  const gone = own.filter((address) => !directory.hosts(node, address));
  if (gone.length === 0) return undefined;
  const known = new Set(flows.remove.map(({ peer }) => peer.address));
  const moved = gone.find((address) => !known.has(address));
  return moved === undefined ? undefined : refusal('conflict', `${moved} is not here any more`);
}

/** Addresses on this node that a hold is about. */
export function heldAddresses(state: PeerState, { flows }: Hold, context: Context): MoveAddresses {
  return here(mergeAddresses(state.addresses, moveAddresses(flows.add)), context);
}

/** Only where nothing is against it: the agent has looked (refusesHold, and who else moves). */
function hold(turn: PeerTurn, { ticket, message }: Incoming<'hold'>): void {
  const { state, context } = turn;
  const { sequence, flows } = message;
  // Late: the flows are the target's by now, and whoever has handed them over can not end one that lives.
  if (isFlipping(state)) {
    const request = { flows: flows.remove, unlessAlive: true };
    enqueue(turn, { work: 'forget', request, tickets: [ticket] });
    return;
  }
  if (sequence === state.sequence && heldBefore(turn, ticket, sequence)) return;
  const isLater = sequence > Math.max(1, state.sequence);
  state.sequence = sequence;
  state.addresses = heldAddresses(state, message, context);
  // What is older must stay so after a restart. Before the first there is nothing: as a rule no hold waits for the disk.
  if (isLater) persist(turn);
  stopAsking(turn);
  state.locking = true;
  if (state.phase !== 'held') enter(turn, 'held');
  setTimer(turn, 'deadline', { ms: context.deadlines.peerHoldMs });
  const { known, ...lists } = sortOut(flows.add, context);
  const request = { flows: { add: known, remove: flows.remove } };
  enqueue(turn, { work: 'hold', request, tickets: [ticket], sequence, ...lists });
}

/** The same hold, asked again: it was let go in the meantime, or failed, where it has to be done again. */
function heldBefore(turn: PeerTurn, ticket: string, sequence: number): boolean {
  const { phase, lastHold } = turn.state;
  if (phase !== 'held') return false;
  if (join(turn, 'hold', ticket)) return true;
  if (lastHold?.sequence !== sequence) return false;
  answer(turn, ticket, { ok: true, unknown: lastHold.unknown });
  return true;
}

function unhold(turn: PeerTurn, incoming: Incoming<'unhold'>): void {
  const { state, context } = turn;
  const { from, ticket, message } = incoming;
  const refused =
    isSource(from, state) ??
    hasNonce(message.nonce, state) ??
    isGivenUp(state) ??
    isTimely(message, state.sequence) ??
    (isFlipping(state) ? refusal('conflict', 'it is switched') : undefined);
  if (refused !== undefined) return refuse(turn, incoming, refused);
  const isLater = message.sequence > state.sequence;
  state.sequence = message.sequence;
  if (isLater) persist(turn);
  stopAsking(turn);
  state.locking = false;
  if (state.phase === 'held') enter(turn, 'prepared');
  setTimer(turn, 'deadline', { ms: context.deadlines.peerHoldMs });
  if (!join(turn, 'unhold', ticket)) enqueue(turn, { work: 'unhold', request: {}, tickets: [ticket] });
}

function rsyn(turn: PeerTurn, incoming: Incoming<'rsyn'>): void {
  const { state, context } = turn;
  const { from, ticket, message } = incoming;
  const refused = mayRsyn(from, message, state) ?? isGivenUp(state);
  if (refused !== undefined) return refuse(turn, incoming, refused);
  const isHosted = (address: string): boolean => context.directory.hosts(context.node, address);
  const strays = message.strays.filter(({ flow }) => isOfMove(flow, state.addresses, isHosted));
  if (strays.length === 0 && state.phase === 'switched') answer(turn, ticket, { ok: true, replayed: 0 });
  else if (strays.length > 0 || !join(turn, 'flip', ticket))
    enqueue(turn, { work: 'flip', request: { strays }, tickets: [ticket] });
}

function ended(turn: PeerTurn, incoming: Incoming<'ended'>): void {
  const { from, ticket, message } = incoming;
  const { state } = turn;
  const refused =
    isTarget(from, state) ??
    (state.phase === 'switched' ? undefined : refusal('conflict', 'the flows have not been switched'));
  if (refused !== undefined) refuse(turn, incoming, refused);
  else enqueue(turn, { work: 'forget', request: { flows: message.flows }, tickets: [ticket] });
}

function replied(turn: PeerTurn, event: Of<'replied'>): void {
  const asked = answered(turn, event.request);
  if (asked !== undefined) wordHeard(turn, asked, event.reply as Reply<'outcome'>);
}

/** Here nobody asks the same again: the other end of the move may know. */
function unreached(turn: PeerTurn, request: string): void {
  const asked = answered(turn, request);
  if (asked !== undefined) wordHeard(turn, asked, undefined);
}

function timeout(turn: PeerTurn, timer: Of<'timeout'>['timer']): void {
  const { state } = turn;
  if (timer === 'retry') retry(turn);
  else if (timer === 'deadline') letGo(turn);
  else if (timer === 'outcome' && state.asking) askForWord(turn);
  else if (timer === 'settle') settle(turn);
}

/** Packets that were under way at the switch have arrived; or what was given up, or is over, has been remembered enough. */
function settle(turn: PeerTurn): void {
  const { phase, over } = turn.state;
  if (phase === 'givenUp' || over) {
    dropRequests(turn, 'outcome');
    forgetState(turn);
  } else if (phase === 'switched') enqueue(turn, { work: 'dropEarlier', request: {} });
}

function flowsEnded(turn: PeerTurn, last: boolean): void {
  if (!last || turn.state.phase !== 'switched' || turn.state.over) return;
  turn.state.over = true;
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}

function restart(turn: PeerTurn): void {
  const { deadlines } = turn.context;
  const { phase } = turn.state;
  if (phase === 'switched') setTimer(turn, 'settle', { ms: deadlines.settleMs });
  else if (phase === 'givenUp') setTimer(turn, 'settle', { ms: deadlines.tombstoneMs });
  else {
    setTimer(turn, 'deadline', { ms: deadlines.peerHoldMs });
    askForWord(turn);
  }
}
