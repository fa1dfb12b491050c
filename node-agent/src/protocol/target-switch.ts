/** The target from the release on: own it, open its pod, tell the peers all at once and resume, tell the source. */
import { isSource } from './authorise.js';
import {
  answer,
  ask,
  askAgain,
  cancelTimer,
  dropRequest,
  dropRequests,
  enter,
  forgetState,
  isAsked,
  note,
  persist,
  refusal,
  refuse,
  run,
  setTimer,
  type Incoming,
  type OpenRequest,
} from './machine.js';
import type { NodeName, PeerFlow, Release, Reply, Stray } from './messages.js';
import { isOwner, type SwitchedPeer, type TargetTurn } from './target-state.js';

export function released(turn: TargetTurn, incoming: Incoming<'release'>): void {
  const { state } = turn;
  const stranger = isSource(incoming.from, state);
  if (stranger !== undefined) return refuse(turn, incoming, stranger);
  if (state.phase === 'restored') own(turn, incoming.message);
  else if (!isOwner(state))
    return refuse(turn, incoming, refusal('conflict', 'it does not stand restored here'));
  answer(turn, incoming.ticket, { ok: true });
}

/**
 * Whether the release came by itself or was asked for. It is written down before it runs; opening the pod and telling the peers
 * need not wait for that (runner.ts): a target that is restarted in between asks the source, which has it in writing.
 */
export function own(turn: TargetTurn, release: Pick<Release, 'peers' | 'strays'>): void {
  const { state } = turn;
  const peers = release.peers.map(({ node, nonce }): [NodeName, SwitchedPeer] => [
    node,
    { nonce, told: false, silent: false, strays: [] },
  ]);
  state.peers = Object.fromEntries(peers);
  shareOut(turn, release.strays);
  dropRequests(turn, 'outcome');
  cancelTimer(turn, 'outcome');
  enter(turn, 'owner');
  run(turn, 'open', { epoch: state.epoch });
  persist(turn);
}

/** Each to the node that it came from. Whoever has no flows here was not prepared: its own timer will do. */
function shareOut(turn: TargetTurn, strays: readonly Stray[]): void {
  const by = new Map<NodeName, Stray[]>();
  for (const stray of strays) {
    const node = turn.context.directory.nodeOf(stray.flow.peer.address);
    if (node === undefined || turn.state.peers[node] === undefined) continue;
    const ofNode = by.get(node);
    if (ofNode === undefined) by.set(node, [stray]);
    else ofNode.push(stray);
  }
  for (const [node, more] of by) {
    const peer = turn.state.peers[node];
    if (peer !== undefined) setPeer(turn, node, { ...peer, strays: [...peer.strays, ...more] });
  }
}

function setPeer(turn: TargetTurn, node: NodeName, peer: SwitchedPeer): void {
  turn.state.peers = { ...turn.state.peers, [node]: peer };
}

export function strays(turn: TargetTurn, incoming: Incoming<'strays'>): void {
  const { state } = turn;
  const refused =
    isSource(incoming.from, state) ??
    (isOwner(state) ? undefined : refusal('conflict', 'it was not released'));
  if (refused !== undefined) return refuse(turn, incoming, refused);
  answer(turn, incoming.ticket, { ok: true });
  shareOut(turn, incoming.message.strays);
  handOn(turn);
}

/**
 * A peer needs 3 to 5 ms to find out whose strays are, in which what it has kept would wait, and those whom that has woken. So
 * they go to peers that have switched, and a few milliseconds after the rest.
 */
function handOn(turn: TargetTurn): void {
  const { peers, handsOn } = turn.state;
  if (!handsOn) return;
  for (const [node, { told, strays }] of Object.entries(peers))
    if (told && strays.length > 0 && !isAsked(turn, 'rsyn', node)) rsyn(turn, node);
}

export function newcomers(turn: TargetTurn): void {
  turn.state.handsOn = true;
  handOn(turn);
}

function rsyn(turn: TargetTurn, node: NodeName): void {
  const { migration, epoch, peers } = turn.state;
  const peer = peers[node];
  if (peer === undefined) return;
  const strays = peer.told ? peer.strays : [];
  if (peer.told) setPeer(turn, node, { ...peer, strays: [] });
  ask(turn, node, { kind: 'rsyn', migration, epoch, nonce: peer.nonce, strays });
}

/**
 * What peers send from now on reaches the pod's sockets, whether its processes run already or not. To let them run only when all
 * peers have answered is no better: with 90 clients at work they stood still for 7 ms more, and the last client had its answer
 * 5 ms earlier after that.
 */
export function opened(turn: TargetTurn): void {
  addToResume(turn);
  enter(turn, 'telling');
  for (const node of Object.keys(turn.state.peers)) rsyn(turn, node);
  run(turn, 'resume', { epoch: turn.state.epoch });
}

export function resumed(turn: TargetTurn): void {
  addToResume(turn);
  turn.state.resumed = true;
  setTimer(turn, 'deadline', { ms: turn.context.deadlines.switchGraceMs });
  setTimer(turn, 'strays', { ms: turn.context.deadlines.newcomersMs });
  peersTold(turn);
}

/** From the release until it runs. After a restart nobody knows any more when that came. */
function addToResume({ state, context }: TargetTurn): void {
  const { report, since } = state;
  if (since > 0) state.report = { ...report, resumeMs: report.resumeMs + context.now - since };
}

export function rsynAnswered(turn: TargetTurn, asked: OpenRequest, reply: Reply<'rsyn'>): void {
  const peer = turn.state.peers[asked.to];
  if (peer === undefined) return;
  if (!reply.ok && reply.refusal === 'failed') {
    askAgain(turn, asked);
    return silent(turn, asked.to);
  }
  // Who refuses for good has given these flows up: asking again would not bring them back.
  if (!reply.ok) note(turn, { what: 'refused', message: 'rsyn', refusal: reply.refusal });
  setPeer(turn, asked.to, { ...peer, told: true, silent: false });
  if (reply.ok && turn.state.phase === 'telling') reportReplay(turn, reply.replayed);
  handOn(turn);
  peersTold(turn);
}

function reportReplay(turn: TargetTurn, replayed: number): void {
  const { state, context } = turn;
  const { report } = state;
  state.report = { ...report, switchMs: context.now - state.since, replayed: report.replayed + replayed };
}

export function silent(turn: TargetTurn, node: NodeName): void {
  const peer = turn.state.peers[node];
  if (peer === undefined || peer.told) return;
  setPeer(turn, node, { ...peer, silent: true });
  peersTold(turn);
}

export function missing({ state }: TargetTurn): NodeName[] {
  return Object.entries(state.peers)
    .filter(([, { told }]) => !told)
    .map(([node]) => node);
}

/** The own side speaks when those who can be reached have spoken; the source is told when all know, or the grace is over. */
function peersTold(turn: TargetTurn): void {
  const { state } = turn;
  const untold = Object.values(state.peers).filter(({ told }) => !told);
  if (!state.resumed) return;
  if (untold.every((peer) => peer.silent)) replayOwn(turn);
  if (untold.length > 0) return;
  if (state.phase === 'telling') tellSource(turn);
  else if (state.phase === 'switching' && state.acknowledged) finish(turn);
}

function replayOwn(turn: TargetTurn): void {
  if (turn.state.replayed) return;
  turn.state.replayed = true;
  run(turn, 'replayOwn', {});
}

export function graceOver(turn: TargetTurn): void {
  if (turn.state.phase !== 'telling') return;
  replayOwn(turn);
  tellSource(turn);
}

function tellSource(turn: TargetTurn): void {
  const { source, migration } = turn.state;
  cancelTimer(turn, 'deadline');
  enter(turn, 'switching');
  persist(turn);
  ask(turn, source, { kind: 'switched', migration, missing: missing(turn), report: turn.state.report });
  setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}

/** A source that does not know of it any more has retired. */
export function switchedAnswered(turn: TargetTurn): void {
  turn.state.acknowledged = true;
  if (turn.state.phase === 'switching' && missing(turn).length === 0) finish(turn);
}

/** Peers that could not be told for so long have lost their flows. */
export function giveUpMissing(turn: TargetTurn): void {
  if (turn.state.phase !== 'switching') return;
  const nodes = missing(turn);
  for (const node of nodes) {
    const peer = turn.state.peers[node];
    if (peer !== undefined) setPeer(turn, node, { ...peer, told: true });
    dropRequest(turn, 'rsyn', node);
    note(turn, { what: 'lost', reason: 'unreachablePeer', flows: 0 });
  }
  if (turn.state.acknowledged) finish(turn);
  else setTimer(turn, 'settle', { ms: turn.context.deadlines.tombstoneMs });
}

function finish(turn: TargetTurn): void {
  cancelTimer(turn, 'settle');
  enter(turn, 'done');
  persist(turn);
}

/** Asked by a peer that has waited for too long. */
export function outcomeForPeer(turn: TargetTurn, { from, ticket }: Incoming<'outcome'>): void {
  const { phase, peers } = turn.state;
  const peer = peers[from];
  if (phase === 'discarding' || phase === 'givenUp') answer(turn, ticket, { ok: true, word: 'aborted' });
  else if (phase === 'owner' || !isOwner(turn.state)) answer(turn, ticket, { ok: true, word: 'undecided' });
  else if (peer === undefined) answer(turn, ticket, { ok: true, word: 'unknown' });
  else {
    const release = { peers: [{ node: from, nonce: peer.nonce }], strays: [] };
    answer(turn, ticket, { ok: true, word: 'released', release });
  }
}

/** Flows that ended here: the nodes that have their other ends may remove their rules. */
export function flowsEnded(turn: TargetTurn, flows: readonly PeerFlow[], last: boolean): void {
  const { state } = turn;
  const by = new Map<NodeName, PeerFlow[]>();
  for (const flow of flows) {
    const node = turn.context.directory.nodeOf(flow.peer.address);
    if (node === undefined) continue;
    const ofNode = by.get(node);
    if (ofNode === undefined) by.set(node, [flow]);
    else ofNode.push(flow);
  }
  for (const [node, more] of by)
    state.ended = { ...state.ended, [node]: [...(state.ended[node] ?? []), ...more] };
  state.over ||= last;
  for (const node of by.keys()) sendEnded(turn, node);
  mayForget(turn);
}

function sendEnded(turn: TargetTurn, node: NodeName): void {
  const { migration, ended } = turn.state;
  const { [node]: flows, ...others } = ended;
  if (flows === undefined || isAsked(turn, 'ended', node)) return;
  turn.state.ended = others;
  ask(turn, node, { kind: 'ended', migration, flows });
}

export function endedAnswered(turn: TargetTurn, { to }: OpenRequest): void {
  sendEnded(turn, to);
  mayForget(turn);
}

function mayForget(turn: TargetTurn): void {
  const { phase, over, requests } = turn.state;
  if (over && phase === 'done' && Object.keys(requests).length === 0) forgetState(turn);
}
