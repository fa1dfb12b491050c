/** The source until the freeze: pod, plan, rules, quiesce, hold; and back again when the other end of a flow moves. */
import { isEmpty, peerDifference, targetDifference } from './difference.js';
import type { Plan } from './effects.js';
import {
  anyAsked,
  ask,
  askAgain,
  cancelTimer,
  dropRequest,
  dropRequests,
  enter,
  note,
  persist,
  run,
  setTimer,
  type OpenRequest,
} from './machine.js';
import type { Accepted, Difference, Hold, NodeName, PeerFlow, Refused, Reply } from './messages.js';
import { freeze } from './source-move.js';
import { giveUp } from './source-rollback.js';
import type { SourceTurn, ToldPeer } from './source-state.js';

/** So often a plan is made anew for flows that their peers' nodes don't know, before they count as lost. */
const unknownRounds = 5;

export function begin(turn: SourceTurn): void {
  const { migration, epoch, workload, target, mover, image, addresses } = turn.state;
  persist(turn);
  note(turn, { what: 'phase', phase: 'preparing' });
  setTimer(turn, 'deadline', { ms: turn.context.deadlines.prepareMs });
  ask(turn, target, { kind: 'prepareTarget', migration, epoch, workload, addresses, mover, image });
}

/** The other node may learn a little later who hosts what, or may still be clearing up after the move before. */
const transient = new Set(['notAuthorised', 'busy']);

export function targetPrepared(turn: SourceTurn, asked: OpenRequest, reply: Reply<'prepareTarget'>): void {
  if (reply.ok) {
    turn.state.targetAddresses = reply.addresses;
    plan(turn);
  } else if (transient.has(reply.refusal)) askAgain(turn, asked);
  else giveUp(turn, refusedBy(asked, reply));
}

export function refusedBy({ to, message }: OpenRequest, { refusal, reason }: Refused): string {
  return `${to} refused ${message.kind}: ${refusal}: ${reason}`;
}

function plan(turn: SourceTurn): void {
  enter(turn, 'planning');
  turn.state.stale = false;
  run(turn, 'plan', { addresses: turn.state.targetAddresses });
}

export function noteForeign(turn: SourceTurn, { foreign }: Plan): void {
  if (foreign.length > 0 && foreign.length !== turn.state.plan.foreign.length)
    note(turn, { what: 'lost', reason: 'foreign', flows: foreign.length });
}

/** Target and peers are told at the same time: nothing goes to the target's pod before the switch. */
export function planned(turn: SourceTurn, made: Plan): void {
  const { state } = turn;
  noteForeign(turn, made);
  state.plan = made;
  enter(turn, 'telling');
  const flows = targetDifference(state.toldTarget, made.target);
  state.toldTarget = made.target;
  if (!isEmpty(flows)) {
    const sequence = ++state.targetSequence;
    ask(turn, state.target, { kind: 'targetFlows', migration: state.migration, sequence, flows });
  }
  preparePeers(turn);
  allTold(turn);
}

/** Peers that are not known yet. Their names are written down first: a restarted source must be able to tell them. */
export function preparePeers(turn: SourceTurn): void {
  const { migration, epoch, workload, target, peers, plan } = turn.state;
  const added = Object.entries(plan.peers).filter(
    ([node, flows]) => peers[node] === undefined && flows.length > 0,
  );
  if (added.length === 0) return;
  const known = { ...peers };
  for (const [node, flows] of added) known[node] = { told: flows, perhaps: [], sequence: 0 };
  turn.state.peers = known;
  persist(turn);
  for (const [node, flows] of added)
    ask(turn, node, { kind: 'preparePeer', migration, epoch, workload, target, flows });
}

/** True where it may be gone on with. Flows that the peer's node does not know are offered to it again with the hold. */
export function peerPrepared(turn: SourceTurn, asked: OpenRequest, reply: Reply<'preparePeer'>): boolean {
  if (!reply.ok) {
    if (transient.has(reply.refusal)) askAgain(turn, asked);
    else giveUp(turn, refusedBy(asked, reply));
    return false;
  }
  const peer = turn.state.peers[asked.to];
  if (peer === undefined) return false;
  setPeer(turn, asked.to, {
    ...peer,
    nonce: reply.nonce,
    ...split(peer.told, peer.told, reply.unknown),
  });
  return true;
}

export function setPeer(turn: SourceTurn, node: NodeName, peer: ToldPeer): void {
  turn.state.peers = { ...turn.state.peers, [node]: peer };
}

/** What a peer's node knows of these, and what not: that it was asked about an address that is not there it does know. */
function split(
  flows: PeerFlow[],
  listed: PeerFlow[],
  unknown: readonly number[],
): Pick<ToldPeer, 'told' | 'perhaps'> {
  if (unknown.length === 0) return { told: flows, perhaps: [] };
  const gone = new Set(unknown.map((index) => listed[index]));
  return { told: flows.filter((flow) => !gone.has(flow)), perhaps: flows.filter((flow) => gone.has(flow)) };
}

export function allTold(turn: SourceTurn): void {
  if (anyAsked(turn, 'targetFlows', 'preparePeer')) return;
  if (mustWait(turn)) return;
  enter(turn, 'quiescing');
  run(turn, 'quiesce', {});
}

/** Where another workload has the floor, or has just moved, what was planned may not hold any more. */
function mustWait(turn: SourceTurn): boolean {
  const { stale, addresses } = turn.state;
  if (stale) backOff(turn, 'the other end of a flow moves or has moved');
  else if (turn.context.isLocked(addresses)) backOff(turn, 'the other end of a flow moves');
  else return false;
  return true;
}

export function quiesced(turn: SourceTurn, left: number): void {
  turn.state.quiesced = true;
  if (mustWait(turn)) return;
  if (left > 0) note(turn, { what: 'lost', reason: 'unfinishedHandshake', flows: left });
  enter(turn, 'holding');
  turn.state.unknown = 0;
  setTimer(turn, 'backoff', { ms: turn.context.deadlines.holdingMs });
  for (const node of Object.keys(turn.state.peers)) hold(turn, node);
  allHeld(turn);
}

/** What came and went since the peer was surely told. */
function lateFlows({ told, perhaps }: ToldPeer, flows: PeerFlow[]): Difference<PeerFlow> {
  const late = peerDifference(told, flows);
  if (perhaps.length === 0) return late;
  return { add: late.add, remove: [...late.remove, ...peerDifference(perhaps, flows).remove] };
}

/** `always`: even where there is nothing new. */
export function hold(turn: SourceTurn, node: NodeName, always = true): void {
  const { migration, peers, plan } = turn.state;
  const peer = peers[node];
  if (peer?.nonce === undefined) return;
  const flows = lateFlows(peer, plan.peers[node] ?? []);
  if (!always && isEmpty(flows)) return;
  const sequence = peer.sequence + 1;
  setPeer(turn, node, { ...peer, sequence });
  dropRequest(turn, 'unhold', node);
  ask(turn, node, { kind: 'hold', migration, sequence, nonce: peer.nonce, flows });
}

/** Notes what the peer knows by now, and returns how many of the flows are not there. */
export function peerHeld(turn: SourceTurn, { to, message }: OpenRequest, reply: Accepted<'hold'>): number {
  const peer = turn.state.peers[to];
  if (peer === undefined) return 0;
  const flows = turn.state.plan.peers[to] ?? [];
  setPeer(turn, to, { ...peer, ...split(flows, (message as Hold).flows.add, reply.unknown) });
  return reply.unknown.length;
}

const putOff = new Set(['busy', 'conflict']);

export function held(turn: SourceTurn, asked: OpenRequest, reply: Reply<'hold'>): void {
  if (reply.ok) {
    turn.state.unknown += peerHeld(turn, asked, reply);
    allHeld(turn);
  } else if (putOff.has(reply.refusal)) backOff(turn, refusedBy(asked, reply));
  else giveUp(turn, refusedBy(asked, reply));
}

function allHeld(turn: SourceTurn): void {
  const { unknown, rounds } = turn.state;
  if (anyAsked(turn, 'hold')) return;
  if (unknown > 0 && rounds < unknownRounds) {
    backOff(turn, 'the other end of a flow is not where it was');
    return;
  }
  if (unknown > 0) note(turn, { what: 'lost', reason: 'unknownPeer', flows: unknown });
  freeze(turn);
}

/** Nothing is frozen yet: let everybody go on for a moment, then plan again. */
export function backOff(turn: SourceTurn, reason: string): void {
  const { state } = turn;
  const wasHolding = state.phase === 'holding';
  state.reason = reason;
  state.rounds++;
  enter(turn, 'backingOff');
  cancelTimer(turn, 'backoff');
  if (wasHolding) unholdAll(turn);
  if (state.quiesced) run(turn, 'unquiesce', {});
  else setTimer(turn, 'backoff', { attempt: state.rounds });
  state.quiesced = false;
}

function unholdAll(turn: SourceTurn): void {
  const { migration, requests } = turn.state;
  for (const { to, message } of Object.values(requests)) {
    if (message.kind !== 'hold') continue;
    const peer = turn.state.peers[to];
    if (peer !== undefined) setPeer(turn, to, { ...peer, perhaps: [...peer.perhaps, ...message.flows.add] });
  }
  dropRequests(turn, 'hold');
  for (const [node, peer] of Object.entries(turn.state.peers)) {
    if (peer.nonce === undefined) continue;
    const sequence = peer.sequence + 1;
    setPeer(turn, node, { ...peer, sequence });
    ask(turn, node, { kind: 'unhold', migration, sequence, nonce: peer.nonce });
  }
}

export function unquiesced(turn: SourceTurn): void {
  setTimer(turn, 'backoff', { attempt: turn.state.rounds });
}

/** The timer that ends a hold that nobody answers, and the one that ends the wait after that. */
export function backoffOver(turn: SourceTurn): void {
  if (turn.state.phase === 'holding') backOff(turn, 'not all peers held in time');
  else if (turn.state.phase === 'backingOff') plan(turn);
}
