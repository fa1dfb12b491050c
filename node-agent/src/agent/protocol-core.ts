/** The protocol of this node as the runner drives it, and what others may ask about its states. */
import type { Deadlines } from '../protocol/deadlines.js';
import type { Effect, Event, Role } from '../protocol/effects.js';
import {
  createAgent,
  persistedState,
  roleViews,
  step,
  type Agent,
  type Directory,
  type RoleView,
} from '../protocol/agent.js';
import { mayCarry } from '../protocol/authorise.js';
import type { MigrationId, NodeName, Refused, WorkloadName } from '../protocol/messages.js';
import type { Core } from './runner.js';

const roles: readonly Role[] = ['source', 'target', 'peer'];

/** Phases in which a role has nothing left to do but to be remembered. */
const over: Readonly<Record<Role, ReadonlySet<string>>> = {
  source: new Set(['retired', 'aborted']),
  target: new Set(['done', 'givenUp']),
  peer: new Set(['switched', 'givenUp']),
};

export interface CoreOptions {
  node: NodeName;
  deadlines: Deadlines;
  directory: Directory;
  /** what was found on stable storage, of whatever kind */
  records: ReadonlyMap<string, unknown>;
  /** whether this workload runs on this node */
  isHere: (workload: WorkloadName) => boolean;
  /** what this node calls the pod of a workload that has come with a migration, or comes */
  podAt: (migration: MigrationId, workload: WorkloadName) => string;
}

export class ProtocolCore implements Core {
  private readonly agent: Agent;

  /** @throws ServalError ERR_STATE_MISMATCH */
  constructor(private readonly options: CoreOptions) {
    const { node, deadlines, directory, records, isHere } = options;
    const mine = [...records].filter(([key]) => roles.some((role) => key.startsWith(`${role}-`)));
    this.agent = createAgent(
      { node, deadlines, directory, isHere },
      mine.map(([, value]) => value),
    );
  }

  step(event: Event, now: number): Effect[] {
    return step(this.agent, event, now);
  }

  persisted(role: Role, migration: MigrationId): unknown {
    return persistedState(this.agent, role, migration);
  }

  views(): RoleView[] {
    return roleViews(this.agent).map((view) =>
      view.role === 'target' ? { ...view, workload: this.workload('target', view.migration) } : view,
    );
  }

  phase(role: Role, migration: MigrationId): string | undefined {
    return this.stateOf(role, migration)?.phase;
  }

  /** Name of the workload that a migration moves, as far as this role knows of it; at the target its pod's. */
  workload(role: Role, migration: MigrationId): string {
    const workload = this.stateOf(role, migration)?.workload;
    if (workload === undefined) return '';
    return role === 'target' ? this.options.podAt(migration, workload) : workload.name;
  }

  /** What there is against images of this migration from this node. */
  refusesImages(from: NodeName, migration: MigrationId): Refused | undefined {
    return mayCarry(from, this.agent.targets.get(migration));
  }

  /** Migrations that have not ended, by this node's role. */
  open(): Record<Role, number> {
    const counts: Record<Role, number> = { source: 0, target: 0, peer: 0 };
    for (const { role, phase } of this.views()) if (!over[role].has(phase)) counts[role]++;
    return counts;
  }

  /** Whether no migration has been open here for so long: the last step of one is done when its phase is entered, or soon after. */
  isCalm(now: number, forMs: number): boolean {
    return roles.every((role) =>
      [...this.statesOf(role).values()].every(
        ({ phase, since }) => over[role].has(phase) && now - since >= forMs,
      ),
    );
  }

  private stateOf(role: Role, migration: MigrationId) {
    return this.statesOf(role).get(migration);
  }

  private statesOf(role: Role) {
    return { source: this.agent.sources, target: this.agent.targets, peer: this.agent.peers }[role];
  }
}
