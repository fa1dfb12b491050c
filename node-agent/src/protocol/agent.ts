/**
 * All roles of one node: which machine an event is for, and what they must know of each other. Pure, but for the object
 * that holds the states: a step replaces them.
 */
import { ServalError } from '@serval/api';
import { heard } from './agent-messages.js';
import { forgetEarlier, meet, moves, put, toPeer, toSource, toTarget, type Agent } from './agent-states.js';
import { defaultDeadlines, type Deadlines } from './deadlines.js';
import type { Effect, Event, Role } from './effects.js';
import type { Context, Directory, RoleState } from './machine.js';
import type { MigrationId, NodeName, SwitchReport, WorkloadName } from './messages.js';
import { stepPeer } from './peer.js';
import { isLocking, peerOf, peerRecord, type PeerRecord } from './peer-state.js';
import { startSource, stepSource, type SourceEvent } from './source.js';
import { sourceOf, sourceRecord, type SourceRecord } from './source-state.js';
import { stepTarget } from './target.js';
import { targetOf, targetRecord, type TargetRecord } from './target-state.js';

export type { Agent } from './agent-states.js';
export type { Directory } from './machine.js';

export interface AgentOptions {
  node: NodeName;
  deadlines?: Partial<Deadlines>;
  directory: Directory;
  /** Whether a workload runs on this node, by its name or its uid; one that only waits to arrive does not. */
  isHere?: (workload: WorkloadName) => boolean;
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
  const { node, directory, isHere = () => false } = options;
  const agent: Agent = {
    node,
    directory,
    isHere,
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
    isHere: (workload) => agent.isHere(workload),
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
