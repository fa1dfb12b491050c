/** The states of one node's roles, and what of one concerns another. */
import type { Deadlines } from './deadlines.js';
import type { Effect } from './effects.js';
import type { Directory, Step } from './machine.js';
import type { MigrationId, NodeName, WorkloadName } from './messages.js';
import type { PeerState } from './peer-state.js';
import { standing, type SourceState } from './source-state.js';
import { isOver, type TargetState } from './target-state.js';

export interface Agent {
  readonly node: NodeName;
  readonly deadlines: Deadlines;
  readonly directory: Directory;
  readonly isHere: (workload: WorkloadName) => boolean;
  readonly sources: Map<MigrationId, SourceState>;
  readonly targets: Map<MigrationId, TargetState>;
  readonly peers: Map<MigrationId, PeerState>;
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

export function put<State>(
  states: Map<MigrationId, State>,
  migration: MigrationId,
  step: Step<State>,
): Effect[] {
  if (step.state === undefined) states.delete(migration);
  else states.set(migration, step.state);
  return step.effects;
}

export function toSource(
  agent: Agent,
  id: MigrationId,
  move: (state: SourceState) => Step<SourceState>,
): Effect[] {
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

export function toTarget(
  agent: Agent,
  id: MigrationId,
  move: (state: TargetState) => Step<TargetState>,
): Effect[] {
  return keep(agent.targets, id, move);
}

/** Whoever moves here and has an end of these flows has planned with what may be changing now. */
export function toPeer(agent: Agent, id: MigrationId, move: (state: PeerState) => Step<PeerState>): Effect[] {
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

export function meet(some: readonly string[], others: readonly string[]): boolean {
  return some.some((address) => others.includes(address));
}

/** Their rules are gone; of a workload's switches only the last one is remembered. */
export function forgetEarlier(agent: Agent, last: PeerState | undefined): Effect[] {
  if (last === undefined) return [];
  const earlier = [...agent.peers.values()].filter(
    ({ phase, workload, epoch }) =>
      phase === 'switched' && workload.uid === last.workload.uid && epoch < last.epoch,
  );
  for (const { migration } of earlier) agent.peers.delete(migration);
  return earlier.map(({ migration }) => ({ type: 'forgetState', role: 'peer', migration }));
}

/** A workload moves once at a time; one that has just come here moves until its peers know. */
export function moves(agent: Agent, uid: string): boolean {
  const leaves = [...agent.sources.values()].some(
    (state) => state.workload.uid === uid && (standing(state) !== 'over' || isUnsettled(state)),
  );
  return leaves || [...agent.targets.values()].some((state) => state.workload.uid === uid && !isOver(state));
}

function isUnsettled({ phase, settled }: SourceState): boolean {
  return phase === 'aborted' && !settled;
}
