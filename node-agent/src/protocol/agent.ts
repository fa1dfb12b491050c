/**
 * All roles of one node: which machine an event is for, and what they must know of each other. Pure, but for the object
 * that holds the states: a step replaces them.
 */
import { ServalError } from '@serval/api';
import { defaultDeadlines, type Deadlines } from './deadlines.js';
import type { Effect, Event, Role } from './effects.js';
import {
  refusal,
  type Context,
  type Directory,
  type Incoming,
  type RoleState,
  type Step,
} from './machine.js';
import type {
  Message,
  MessageKind,
  MigrationId,
  NodeName,
  Refused,
  SwitchReport,
  WorkloadName,
} from './messages.js';
import {
  buryPeer,
  heldAddresses,
  preparePeer,
  refusesHold,
  refusesPeer,
  stepPeer,
  tellPeer,
  type PeerMessage,
} from './peer.js';
import { isLocking, peerOf, peerRecord, type PeerRecord, type PeerState } from './peer-state.js';
import { startSource, stepSource, tellSource, yieldSource, type SourceEvent } from './source.js';
import { sourceOf, sourceRecord, standing, type SourceRecord, type SourceState } from './source-state.js';
import {
  buryTarget,
  prepareTarget,
  refusesTarget,
  stepTarget,
  tellTarget,
  type TargetMessage,
} from './target.js';
import { isOver, targetOf, targetRecord, type TargetRecord, type TargetState } from './target-state.js';

export type { Directory } from './machine.js';

export interface AgentOptions {
  node: NodeName;
  deadlines?: Partial<Deadlines>;
  directory: Directory;
}

export interface Agent {
  readonly node: NodeName;
  readonly deadlines: Deadlines;
  readonly directory: Directory;
  readonly sources: Map<MigrationId, SourceState>;
  readonly targets: Map<MigrationId, TargetState>;
  readonly peers: Map<MigrationId, PeerState>;
}

/** What is written down of one role of one migration. JSON. */
export type PersistedState =
  | ({ version: 1; role: 'source' } & SourceRecord)
  | ({ version: 1; role: 'target' } & TargetRecord)
  | ({ version: 1; role: 'peer' } & PeerRecord);

/** One role of one migration, for status and metrics. */
export interface RoleView {
  role: Role;
  migration: MigrationId;
  /** absent in the tombstone of a migration that was given up before this node heard of it */
  workload: string;
  source: NodeName;
  target: NodeName;
  phase: string;
  /** when the phase was entered, milliseconds of the `now` that steps were given */
  since: number;
  reason?: string;
  /** at the source, once it is over */
  report?: SwitchReport;
}

/**
 * A node's agent. `persisted`: all that was written down before; a `restart` event then makes it go on.
 * @throws ServalError ERR_STATE_MISMATCH where that was written by another version
 */
export function createAgent(options: AgentOptions, persisted: readonly unknown[] = []): Agent {
  const { node, directory } = options;
  const agent: Agent = {
    node,
    directory,
    deadlines: { ...defaultDeadlines, ...options.deadlines },
    sources: new Map(),
    targets: new Map(),
    peers: new Map(),
  };
  for (const value of persisted) takeBack(agent, checked(value));
  return agent;
}

function checked(value: unknown): PersistedState {
  const record = value as Partial<PersistedState> | null | undefined;
  if (record?.version === 1 && typeof record.migration === 'string') return record as PersistedState;
  throw new ServalError('ERR_STATE_MISMATCH', {
    subject: 'state of a migration',
    reason: 'it is not of version 1, the one that this agent writes',
    remedy: 'Start the version that wrote it, let its migrations end, then upgrade again',
  });
}

function takeBack(agent: Agent, record: PersistedState): void {
  if (record.role === 'source') agent.sources.set(record.migration, sourceOf(record, 0));
  else if (record.role === 'target') agent.targets.set(record.migration, targetOf(record, 0));
  else agent.peers.set(record.migration, peerOf(record, 0));
}

/** The JSON value that a `persist` effect asks to be written; undefined where nothing is known of it any more. */
export function persistedState(agent: Agent, role: Role, migration: MigrationId): PersistedState | undefined {
  const source = role === 'source' ? agent.sources.get(migration) : undefined;
  if (source !== undefined) return { version: 1, role: 'source', ...sourceRecord(source) };
  const target = role === 'target' ? agent.targets.get(migration) : undefined;
  if (target !== undefined) return { version: 1, role: 'target', ...targetRecord(target) };
  const peer = role === 'peer' ? agent.peers.get(migration) : undefined;
  return peer === undefined ? undefined : { version: 1, role: 'peer', ...peerRecord(peer) };
}

/** All that this node takes part in, or took part in lately. */
export function roleViews(agent: Agent): RoleView[] {
  const { node } = agent;
  const view = (
    role: Role,
    state: RoleState,
    ends: Pick<RoleView, 'workload' | 'source' | 'target'>,
  ): RoleView => {
    const { migration, phase, since, reason } = state;
    return { role, migration, ...ends, phase, since, ...(reason === undefined ? {} : { reason }) };
  };
  return [
    ...[...agent.sources.values()].map((state) => ({
      ...view('source', state, { workload: state.workload.name, source: node, target: state.target }),
      ...(state.report === undefined ? {} : { report: state.report }),
    })),
    ...[...agent.targets.values()].map((state) =>
      view('target', state, { workload: state.workload.name, source: state.source, target: node }),
    ),
    ...[...agent.peers.values()].map((state) =>
      view('peer', state, { workload: state.workload.name, source: state.source, target: state.target }),
    ),
  ];
}

/**
 * One event. `now`: milliseconds, for people. Returns what is to be done, in its order.
 */
export function step(agent: Agent, event: Event, now: number): Effect[] {
  const context: Context = {
    node: agent.node,
    now,
    deadlines: agent.deadlines,
    directory: agent.directory,
    isLocked: (addresses) =>
      [...agent.peers.values()].some((peer) => isLocking(peer) && meet(peer.addresses.own, addresses)),
  };
  switch (event.type) {
    case 'start':
      return start(agent, event, context);
    case 'message':
      return heard(agent, event, context);
    case 'restart':
      return restart(agent, context);
    case 'flowsEnded':
      return [
        ...toTarget(agent, event.migration, (state) => stepTarget(state, event, context)),
        ...toPeer(agent, event.migration, (state) => stepPeer(state, event, context)),
      ];
    case 'cancel':
      return toSource(agent, event.migration, (state) => stepSource(state, event, context));
    default:
      return toRole(agent, event, context);
  }
}

type RoleEvent = Exclude<SourceEvent, { type: 'cancel' | 'restart' }>;

function toRole(agent: Agent, event: RoleEvent, context: Context): Effect[] {
  const { role, migration } = event;
  if (role === 'source') return toSource(agent, migration, (state) => stepSource(state, event, context));
  if (role === 'target') return toTarget(agent, migration, (state) => stepTarget(state, event, context));
  const effects = toPeer(agent, migration, (state) => stepPeer(state, event, context));
  if (event.type === 'done' && event.work === 'dropEarlier')
    effects.push(...forgetEarlier(agent, agent.peers.get(migration)));
  return effects;
}

/** One state's step, and where the result is kept. Who is not known any more hears nothing. */
function keep<State>(
  states: Map<MigrationId, State>,
  migration: MigrationId,
  move: (state: State) => Step<State>,
): Effect[] {
  const before = states.get(migration);
  return before === undefined ? [] : put(states, migration, move(before));
}

function put<State>(states: Map<MigrationId, State>, migration: MigrationId, step: Step<State>): Effect[] {
  if (step.state === undefined) states.delete(migration);
  else states.set(migration, step.state);
  return step.effects;
}

function toSource(agent: Agent, id: MigrationId, move: (state: SourceState) => Step<SourceState>): Effect[] {
  const effects = keep(agent.sources, id, move);
  const source = agent.sources.get(id);
  if (source?.phase !== 'retired') return effects;
  // It has left: what an earlier arrival of this workload left behind here is over too.
  for (const target of agent.targets.values())
    if (
      target.phase === 'done' &&
      target.workload.uid === source.workload.uid &&
      target.epoch < source.epoch
    ) {
      agent.targets.delete(target.migration);
      effects.push({ type: 'forgetState', role: 'target', migration: target.migration });
    }
  return effects;
}

function toTarget(agent: Agent, id: MigrationId, move: (state: TargetState) => Step<TargetState>): Effect[] {
  return keep(agent.targets, id, move);
}

/** Whoever moves here and has an end of these flows has planned with what may be changing now. */
function toPeer(agent: Agent, id: MigrationId, move: (state: PeerState) => Step<PeerState>): Effect[] {
  const before = agent.peers.get(id);
  const effects = keep(agent.peers, id, move);
  const after = agent.peers.get(id);
  if (before?.phase !== after?.phase || effects.some((effect) => effect.type === 'run'))
    makeStale(agent, id, (after ?? before)?.addresses.own ?? []);
  return effects;
}

function makeStale(agent: Agent, by: MigrationId, addresses: readonly string[]): void {
  for (const state of agent.sources.values())
    if (state.migration !== by && standing(state) === 'before' && meet(state.addresses, addresses))
      agent.sources.set(state.migration, { ...state, stale: true });
}

function meet(some: readonly string[], others: readonly string[]): boolean {
  return some.some((address) => others.includes(address));
}

/** Their rules are gone; of a workload's switches only the last one is remembered. */
function forgetEarlier(agent: Agent, last: PeerState | undefined): Effect[] {
  if (last === undefined) return [];
  const earlier = [...agent.peers.values()].filter(
    ({ phase, workload, epoch }) =>
      phase === 'switched' && workload.uid === last.workload.uid && epoch < last.epoch,
  );
  for (const { migration } of earlier) agent.peers.delete(migration);
  return earlier.map(({ migration }) => ({ type: 'forgetState', role: 'peer', migration }));
}

function start(agent: Agent, event: Extract<Event, { type: 'start' }>, context: Context): Effect[] {
  const { migration } = event;
  if (agent.sources.has(migration)) return [];
  const reason = refusesStart(agent, event);
  if (reason === undefined) return put(agent.sources, migration, startSource(event, context));
  return [{ type: 'note', role: 'source', migration, note: { what: 'givenUp', reason } }];
}

function refusesStart(
  agent: Agent,
  { workload, target, addresses }: Extract<Event, { type: 'start' }>,
): string | undefined {
  const { node, directory } = agent;
  const [now] = addresses;
  if (target === node) return `${workload.name} is on ${node} already`;
  if (now === undefined || !directory.hosts(node, now))
    return `${workload.name} is not on ${node}: ${now ?? 'no address'} is not here`;
  return moves(agent, workload.uid) ? `${workload.name} is moving already` : undefined;
}

/** A workload moves once at a time; one that has just come here moves until its peers know. */
function moves(agent: Agent, uid: string): boolean {
  const leaves = [...agent.sources.values()].some(
    (state) => state.workload.uid === uid && (standing(state) !== 'over' || isUnsettled(state)),
  );
  return leaves || [...agent.targets.values()].some((state) => state.workload.uid === uid && !isOver(state));
}

function isUnsettled({ phase, settled }: SourceState): boolean {
  return phase === 'aborted' && !settled;
}

function restart(agent: Agent, context: Context): Effect[] {
  const event = { type: 'restart' } as const;
  return [
    ...[...agent.sources.keys()].flatMap((id) =>
      toSource(agent, id, (state) => stepSource(state, event, context)),
    ),
    ...[...agent.targets.keys()].flatMap((id) =>
      toTarget(agent, id, (state) => stepTarget(state, event, context)),
    ),
    ...[...agent.peers.keys()].flatMap((id) => toPeer(agent, id, (state) => stepPeer(state, event, context))),
  ];
}

type Heard = Extract<Event, { type: 'message' }>;

function heard(agent: Agent, event: Heard, context: Context): Effect[] {
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
    (moves(agent, workload.uid) ? refusal('busy', `${workload.name} is still moving here`) : undefined);
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
  const reply = refusesHold(state, event, context) ?? isBusy(others, migration);
  if (reply !== undefined) return refused('peer', event, reply);
  const yielding = others.filter((source) => standing(source) === 'holding');
  return [
    ...toPeer(agent, migration, (peer) => tellPeer(peer, event, context)),
    ...yielding.flatMap((source) =>
      toSource(agent, source.migration, (other) => yieldSource(other, migration, context)),
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
  if (target === undefined && agent.targets.size < maxBuried)
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
