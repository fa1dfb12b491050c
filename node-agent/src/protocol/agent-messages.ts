/** What a node is asked by others: which role it is for, and what stands against it. */
import { meet, moves, put, toPeer, toSource, toTarget, type Agent } from './agent-states.js';
import { isElsewhere } from './authorise.js';
import type { Effect, Event, Role } from './effects.js';
import { refusal, type Context, type Incoming, type RoleState } from './machine.js';
import type { Message, MessageKind, MigrationId, NodeName, Refused, WorkloadName } from './messages.js';
import {
  buryPeer,
  heldAddresses,
  preparePeer,
  refusesHold,
  refusesPeer,
  tellPeer,
  type PeerMessage,
} from './peer.js';
import { tellSource, yieldSource } from './source.js';
import { standing, type SourceState } from './source-state.js';
import { buryTarget, prepareTarget, refusesTarget, tellTarget, type TargetMessage } from './target.js';

type Heard = Extract<Event, { type: 'message' }>;

export function heard(agent: Agent, event: Heard, context: Context): Effect[] {
  const { kind } = event.message;
  switch (kind) {
    case 'prepareTarget':
      return targetAsked(agent, event as Incoming<'prepareTarget'>, context);
    case 'preparePeer':
      return peerAsked(agent, event as Incoming<'preparePeer'>, context);
    case 'hold':
      return holdAsked(agent, event as Incoming<'hold'>, context);
    case 'abort':
      return abortHeard(agent, event as Incoming<'abort'>, context);
    case 'outcome':
      return outcomeAsked(agent, event as Incoming<'outcome'>, context);
    default:
      return handOn(agent, event as Incoming<Rest>, context);
  }
}

type Rest = Exclude<MessageKind, 'prepareTarget' | 'preparePeer' | 'hold' | 'abort' | 'outcome'>;

/** What needs a state that is there already. */
function handOn(agent: Agent, event: Incoming<Rest>, context: Context): Effect[] {
  const { kind, migration } = event.message;
  const role = roleOf[kind];
  const states = { source: agent.sources, target: agent.targets, peer: agent.peers }[role];
  if (!states.has(migration)) return refused(role, event, unknownMigration(migration));
  if (role === 'source')
    return toSource(agent, migration, (state) => tellSource(state, event as Incoming<'switched'>, context));
  if (role === 'target')
    return toTarget(agent, migration, (state) => tellTarget(state, event as TargetMessage, context));
  return toPeer(agent, migration, (state) => tellPeer(state, event as PeerMessage, context));
}

const roleOf: Record<Rest, Role> = {
  targetFlows: 'target',
  restore: 'target',
  release: 'target',
  strays: 'target',
  switched: 'source',
  unhold: 'peer',
  rsyn: 'peer',
  ended: 'peer',
};

function unknownMigration(migration: MigrationId): Refused {
  return refusal('unknownMigration', `nothing is known of ${migration} here`);
}

function refused(
  role: Role,
  { ticket, message: { kind, migration } }: { ticket: string; message: Message },
  reply: Refused,
): Effect[] {
  return [
    { type: 'reply', ticket, reply },
    { type: 'note', role, migration, note: { what: 'refused', message: kind, refusal: reply.refusal } },
  ];
}

function targetAsked(agent: Agent, event: Incoming<'prepareTarget'>, context: Context): Effect[] {
  const { migration, workload } = event.message;
  if (isKnown(agent.targets, event))
    return toTarget(agent, migration, (state) => tellTarget(state, event, context));
  const last = lastEpoch([...agent.sources.values(), ...agent.targets.values()], workload.uid, isPast);
  const reply =
    refusesTarget(event, context, last) ??
    (moves(agent, workload.uid) ? refusal('busy', `${workload.name} is still moving here`) : undefined) ??
    isElsewhere(workload, event.from, context.isHere);
  if (reply !== undefined) return refused('target', event, reply);
  return put(agent.targets, migration, prepareTarget(event, context));
}

/** A tombstone for what was never heard of is the word of whoever sent it: it binds nobody else. */
function isKnown(
  states: ReadonlyMap<MigrationId, { source: NodeName; workload: WorkloadName }>,
  { from, message }: Incoming<'prepareTarget' | 'preparePeer'>,
): boolean {
  const state = states.get(message.migration);
  return state !== undefined && (state.source === from || state.workload.uid !== '');
}

const isPast = ({ phase }: RoleState): boolean => phase === 'retired' || phase === 'done';

function lastEpoch(
  states: ReadonlyArray<RoleState & { epoch: number; workload: { uid: string } }>,
  uid: string,
  counts: (state: RoleState) => boolean,
): number | undefined {
  const epochs = states
    .filter((state) => state.workload.uid === uid && counts(state))
    .map(({ epoch }) => epoch);
  return epochs.length === 0 ? undefined : Math.max(...epochs);
}

function peerAsked(agent: Agent, event: Incoming<'preparePeer'>, context: Context): Effect[] {
  const { migration, workload } = event.message;
  if (isKnown(agent.peers, event))
    return toPeer(agent, migration, (state) => tellPeer(state, event, context));
  const isSwitched = ({ phase }: RoleState): boolean => phase === 'switched';
  const last = lastEpoch([...agent.peers.values()], workload.uid, isSwitched);
  const reply = refusesPeer(event, context, last);
  if (reply !== undefined) return refused('peer', event, reply);
  return put(agent.peers, migration, preparePeer(event, context));
}

/** Both ends at once: of two that are about to hold the lower id goes first; who is frozen goes before both. */
function holdAsked(agent: Agent, event: Incoming<'hold'>, context: Context): Effect[] {
  const { message } = event;
  const { migration } = message;
  const state = agent.peers.get(migration);
  if (state === undefined) return refused('peer', event, unknownMigration(migration));
  const { own } = heldAddresses(state, message, context);
  const others = [...agent.sources.values()].filter(
    (source) => source.migration !== migration && meet(source.addresses, own),
  );
  const wrong = refusesHold(state, event, context);
  if (wrong !== undefined) return refused('peer', event, wrong);
  const busy = isBusy(others, migration);
  const yielding = others.filter((source) => source.migration > migration);
  return [
    ...(busy === undefined
      ? toPeer(agent, migration, (peer) => tellPeer(peer, event, context))
      : refused('peer', event, busy)),
    ...yielding.flatMap((source) =>
      toSource(agent, source.migration, (other) => yieldSource(other, event, context)),
    ),
  ];
}

function isBusy(others: readonly SourceState[], migration: MigrationId): Refused | undefined {
  const first = others.find((state) => {
    const how = standing(state);
    return how === 'after' || (how === 'holding' && state.migration < migration);
  });
  return first === undefined
    ? undefined
    : refusal('busy', `${first.workload.name} is moving itself, by migration ${first.migration}`);
}

/** Tombstones for what was never heard of: enough for honest sources, too few to fill the memory with. */
const maxBuried = 4_096;

/** A node may be target and peer of the same migration. What is agreed is remembered before it is done. */
function abortHeard(agent: Agent, event: Incoming<'abort'>, context: Context): Effect[] {
  const { from, ticket, message } = event;
  const { migration } = message;
  const target = agent.targets.get(migration);
  const peer = agent.peers.get(migration);
  const stranger = [target, peer].some((state) => state !== undefined && state.source !== from);
  if (stranger) return refused('peer', event, refusal('notAuthorised', `${from} is not its source`));
  const effects = [
    ...toTarget(agent, migration, (state) => tellTarget(state, event, context)),
    ...toPeer(agent, migration, (state) => tellPeer(state, event, context)),
  ];
  const mayBeTarget = peer === undefined || peer.target === agent.node;
  if (target === undefined && mayBeTarget && agent.targets.size < maxBuried)
    effects.push(...put(agent.targets, migration, buryTarget(event, context)));
  if (peer === undefined && agent.peers.size < maxBuried)
    effects.push(...put(agent.peers, migration, buryPeer(event, context)));
  return [...effects, { type: 'reply', ticket, reply: { ok: true } }];
}

function outcomeAsked(agent: Agent, event: Incoming<'outcome'>, context: Context): Effect[] {
  const { migration } = event.message;
  if (agent.sources.has(migration))
    return toSource(agent, migration, (state) => tellSource(state, event, context));
  if (agent.targets.has(migration))
    return toTarget(agent, migration, (state) => tellTarget(state, event, context));
  return [{ type: 'reply', ticket: event.ticket, reply: { ok: true, word: 'unknown' } }];
}
