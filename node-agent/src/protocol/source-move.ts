/** The source from the freeze on: late flows, move, restore, release, retire. */
import { targetDifference } from './difference.js';
import type { Plan, Work } from './effects.js';
import {
  anyAsked,
  answer,
  ask,
  askAgain,
  cancelTimer,
  dropRequests,
  enter,
  note,
  persist,
  refusal,
  refuse,
  run,
  setTimer,
  type Incoming,
  type OpenRequest,
} from './machine.js';
import { isTarget } from './authorise.js';
import type { MigrationId, NodeName, Reply } from './messages.js';
import { hold, noteForeign, peerHeld, peerPrepared, preparePeers, refusedBy } from './source-prepare.js';
import { giveUp } from './source-rollback.js';
import { isReleased, type SourceTurn } from './source-state.js';

export function freeze(turn: SourceTurn): void {
  cancelTimer(turn, 'backoff');
  setTimer(turn, 'deadline', { ms: turn.context.deadlines.frozenMs });
  enter(turn, 'freezing');
  run(turn, 'freeze', { addresses: turn.state.targetAddresses });
}

/** The move comes first; what has changed is told beside it. */
export function frozen(turn: SourceTurn, plan: Plan): void {
  const { state } = turn;
  noteForeign(turn, plan);
  state.plan = plan;
  enter(turn, 'moving');
  run(turn, 'move', { target: state.target });
  dropPeersWithout(turn);
  for (const node of Object.keys(state.peers)) hold(turn, node, false);
  preparePeers(turn);
}

/** Who has no flows left is told now. Not the target: there this would end everything. */
function dropPeersWithout(turn: SourceTurn): void {
  const { state } = turn;
  const left = Object.entries(state.peers).filter(
    ([node]) => node === state.target || (state.plan.peers[node]?.length ?? 0) > 0,
  );
  const kept = Object.fromEntries(left);
  for (const node of Object.keys(state.peers))
    if (kept[node] === undefined) ask(turn, node, { kind: 'abort', migration: state.migration });
  state.peers = kept;
}

export function latePeerPrepared(turn: SourceTurn, asked: OpenRequest, reply: Reply<'preparePeer'>): void {
  if (peerPrepared(turn, asked, reply)) hold(turn, asked.to);
}

/**
 * Now everything is frozen: who can not hold a late flow ends the move. But where its other end is frozen too, one of the
 * two gives way (giveWay), and the other waits for that.
 */
export function lateHeld(turn: SourceTurn, asked: OpenRequest, reply: Reply<'hold'>): void {
  if (!reply.ok && reply.refusal === 'busy') return askAgain(turn, asked);
  if (!reply.ok) {
    giveUp(turn, refusedBy(asked, reply));
    return;
  }
  const unknown = peerHeld(turn, asked, reply);
  if (unknown > 0) note(turn, { what: 'lost', reason: 'unknownPeer', flows: unknown });
  mayRelease(turn);
}

export function moved(turn: SourceTurn): void {
  const { state } = turn;
  enter(turn, 'restoring');
  const flows = targetDifference(state.toldTarget, state.plan.target);
  state.toldTarget = state.plan.target;
  const sequence = ++state.targetSequence;
  ask(turn, state.target, { kind: 'restore', migration: state.migration, sequence, flows });
  run(turn, 'takeStrays', { addresses: state.targetAddresses });
}

export function restored(turn: SourceTurn, asked: OpenRequest, reply: Reply<'restore'>): void {
  if (!reply.ok) {
    giveUp(turn, refusedBy(asked, reply));
    return;
  }
  enter(turn, 'restored');
  mayRelease(turn);
}

/** So often a late hold is asked for in vain before its end counts as frozen too. */
const patience = 2;

/**
 * Two workloads with a flow that came after both had planned may both be frozen, each waiting for its hold at the other.
 * Here the move with the higher id ends. Where the other one only tries, it will back off by itself.
 */
export function giveWay(turn: SourceTurn, from: NodeName, migration: MigrationId): void {
  const waits = Object.values(turn.state.requests).some(
    ({ to, message, attempt }) => to === from && message.kind === 'hold' && attempt >= patience,
  );
  if (waits) giveUp(turn, `migration ${migration} goes first, and has frozen the other end of a late flow`);
}

/** A peer without the rule of a late flow would answer its first packet with a reset. Ended flows can wait. */
function isNeeded({ message }: OpenRequest): boolean {
  if (message.kind === 'preparePeer') return true;
  return message.kind === 'hold' && (message.flows.add.length > 0 || message.sequence === 1);
}

function mayRelease(turn: SourceTurn): void {
  const { state } = turn;
  if (state.phase !== 'restored' || Object.values(state.requests).some(isNeeded)) return;
  cancelTimer(turn, 'deadline');
  const peers = Object.entries(state.peers).flatMap(([node, { nonce }]) =>
    nonce === undefined ? [] : [{ node, nonce }],
  );
  state.release = { peers, strays: state.strays };
  state.strays = [];
  enter(turn, 'released');
  persist(turn);
  sendRelease(turn);
}

export function sendRelease(turn: SourceTurn): void {
  const { migration, target, release } = turn.state;
  ask(turn, target, { kind: 'release', migration, peers: [], strays: [], ...release });
  setTimer(turn, 'strays', { ms: turn.context.deadlines.straysMs });
}

/** There is no way back: a target that refuses is asked again. */
export function releaseHeard(turn: SourceTurn, asked: OpenRequest, reply: Reply<'release'>): void {
  if (reply.ok) sendStrays(turn);
  else askAgain(turn, asked);
}

export function lookForStrays(turn: SourceTurn): void {
  if (mayHaveStrays(turn)) run(turn, 'takeStrays', { addresses: turn.state.targetAddresses });
}

/** The pod that connections are still opened to is there until it is retired. */
function mayHaveStrays({ state: { phase } }: SourceTurn): boolean {
  return phase === 'released' || phase === 'retiring';
}

export function straysTaken(turn: SourceTurn, result: Work['takeStrays']['result'] | undefined): void {
  const { state } = turn;
  if (result !== undefined && result.strays.length > 0)
    state.strays = [...state.strays, ...result.strays.map(({ stray }) => stray)];
  if (!mayHaveStrays(turn)) return;
  setTimer(turn, 'strays', { ms: turn.context.deadlines.straysMs });
  sendStrays(turn);
}

/** Those that came after the release, and only once the target has heard of that. */
export function sendStrays(turn: SourceTurn): void {
  const { migration, target, strays } = turn.state;
  if (strays.length === 0 || anyAsked(turn, 'release', 'strays')) return;
  turn.state.strays = [];
  ask(turn, target, { kind: 'strays', migration, strays });
}

/** The target runs, and its peers know. Written down before the answer: afterwards nobody tells again. */
export function switched(turn: SourceTurn, incoming: Incoming<'switched'>): void {
  const { state } = turn;
  const stranger = isTarget(incoming.from, state);
  if (stranger !== undefined) return refuse(turn, incoming, stranger);
  if (!isReleased(state)) return refuse(turn, incoming, refusal('conflict', 'it was not released'));
  const { missing, report } = incoming.message;
  if (state.phase === 'released') {
    if (missing.length > 0) state.reason = `not told yet: ${missing.join(', ')}`;
    state.report = report;
    note(turn, { what: 'switched', report });
    dropRequests(turn, 'release', 'hold', 'unhold');
    enter(turn, 'retiring');
    persist(turn);
    // What came before the last peer had switched is here by now, and nobody comes any more.
    lookForStrays(turn);
    run(turn, 'retire', { epoch: state.epoch, addresses: state.targetAddresses });
  }
  answer(turn, incoming.ticket, { ok: true });
}

/** Written down: the workload may come back before this is forgotten, and must not be retired once more then. */
export function retired(turn: SourceTurn): void {
  cancelTimer(turn, 'strays');
  dropRequests(turn, 'strays');
  enter(turn, 'retired');
  persist(turn);
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}
