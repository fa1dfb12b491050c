/** What the local API and the command line see of the agent, and ask of it. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  apiVersion,
  migrationResult,
  ServalError,
  type CheckView,
  type FrozenView,
  type MigrationRequest,
  type PodView,
  type ReportView,
  type ResolveView,
  type ServalMigration,
  type ServiceView,
  type StatusView,
  type SwitchedView,
  workloadOf,
} from '@serval/api';
import type { HostDirectory, ResourceStore } from '@serval/kube-runtime';
import { dropReasons } from '../datapath/reasons.js';
import type { Datapath, FlowStatus } from '../datapath/types.js';
import type { ExternalMover } from '../movers/external.js';
import type { Event, Role } from '../protocol/effects.js';
import type { MigrationBook } from './book.js';
import type { AgentFacade } from './facade.js';
import type { Lazily } from './json-stream.js';
import type { PodRegistry } from './pods.js';
import type { AgentServices } from './services/index.js';
import type { ResolveQuestion } from './services/resolve.js';

export interface FacadeDeps {
  node: string;
  version: string;
  frozenMs: number;
  datapath: Datapath;
  pods: PodRegistry;
  store: ResourceStore;
  directory: HostDirectory;
  book: MigrationBook;
  external: ExternalMover;
  dispatch: (event: Event) => void;
  /** phase of a role in a migration */
  phaseOf: (role: Role, migration: string) => string | undefined;
  openMigrations: () => Record<Role, number>;
  reports: () => ReportView[];
  services: Pick<AgentServices, 'views' | 'resolve'>;
  checks: () => Promise<CheckView[]>;
}

const pollMs = 2;

export class LocalFacade implements AgentFacade {
  private readonly startedAt = new Date().toISOString();

  constructor(private readonly deps: FacadeDeps) {}

  async status(): Promise<StatusView> {
    const { node, version, datapath, pods, store, openMigrations } = this.deps;
    const checks = await this.deps.checks();
    const drops = await datapath.drops();
    return {
      node,
      version,
      startedAt: this.startedAt,
      ready: checks.every(({ ok }) => ok),
      checks,
      pods: pods.all().length,
      flows: await flowsByState(datapath),
      drops: Object.fromEntries(
        dropReasons
          .filter((reason) => drops[reason].packets > 0n)
          .map((reason) => [reason, Number(drops[reason].packets)]),
      ),
      openMigrations: openMigrations(),
      nodes: store.list('ServalNode').length,
    };
  }

  flows(pod?: string): Promise<FlowStatus[]> {
    return this.deps.datapath.flows(pod);
  }

  async pods(): Promise<PodView[]> {
    const statuses = new Map((await this.deps.datapath.pods()).map((status) => [status.name, status]));
    return this.deps.pods.all().map(({ name, addresses, netns, workload }) => {
      const { attached = false, held = false, flows = 0 } = statuses.get(name) ?? {};
      const mover = workload?.mover as PodView['mover'];
      return {
        name,
        addresses,
        netns,
        epoch: workload?.epoch ?? 0,
        attached,
        held,
        flows,
        ...(mover === undefined ? {} : { mover }),
      };
    });
  }

  reports(): ReportView[] {
    return this.deps.reports();
  }

  services(name?: string): Iterable<Lazily<ServiceView>> {
    return this.deps.services.views(name);
  }

  resolve(question: ResolveQuestion): Lazily<ResolveView> {
    return this.deps.services.resolve(question);
  }

  migrations(): ServalMigration[] {
    return this.deps.book.all();
  }

  migration(nameOrId: string): ServalMigration | undefined {
    return this.deps.book.get(nameOrId);
  }

  /** @param name `namespace/name` */
  watchMigration(name: string, handler: (migration: ServalMigration | undefined) => void): () => void {
    return this.deps.book.watch(name, handler);
  }

  async createMigration({ workload, targetNode, mover, name }: MigrationRequest): Promise<ServalMigration> {
    const { pods, directory, store, book } = this.deps;
    if (pods.get(workload)?.workload === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `workload ${workload}`,
        reason: 'no such workload runs on this node',
        remedy: 'See `serval pods`, and ask the agent of the node that hosts it',
      });
    if (directory.addressOf(targetNode) === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `node ${targetNode}`,
        reason: 'there is no ServalNode of that name',
        remedy: 'Name one that exists, or declare it',
      });
    const other = book
      .all()
      .find((each) => workloadOf(each) === workload && migrationResult(each) === undefined);
    if (other !== undefined)
      throw new ServalError('ERR_CONFLICT', {
        subject: `workload ${workload}`,
        reason: `migration ${other.metadata.name} moves it already`,
        remedy: 'Wait until that has ended, or cancel it',
      });
    const [namespace = '', ownName = ''] = workload.split('/');
    return store.apply<'ServalMigration'>({
      apiVersion,
      kind: 'ServalMigration',
      metadata: {
        name: name ?? `${workload.replace('/', '-')}-${randomBytes(3).toString('hex')}`,
        namespace,
      },
      spec: { workload: { name: ownName }, targetNode, ...(mover === undefined ? {} : { mover }) },
    });
  }

  async cancelMigration(name: string): Promise<void> {
    const id = this.known(name);
    this.deps.dispatch({ type: 'cancel', migration: id });
    const phase = this.deps.phaseOf('source', id);
    if (phase === 'rollingBack' || phase === 'aborted') return Promise.resolve();
    throw new ServalError('ERR_CONFLICT', {
      subject: `migration ${name}`,
      reason: phase === undefined ? 'it is over' : `it is too late: it is ${phase}`,
      remedy: 'A workload that was released runs at its target; move it back if need be',
    });
  }

  /** Everything is held when the work that the protocol calls move has begun. */
  async freeze(name: string): Promise<FrozenView> {
    const id = this.known(name);
    this.deps.external.askFreeze(id);
    for (;;) {
      const phase = this.deps.phaseOf('source', id) ?? '';
      if (frozenPhases.has(phase)) return { migration: id, restoreWithinMs: this.deps.frozenMs };
      if (givenUpPhases.has(phase)) throw this.givenUp(name, this.deps.book.get(name)?.status?.reason);
      await delay(pollMs);
    }
  }

  async restored(nameOrId: string): Promise<SwitchedView> {
    const id = this.deps.book.idOf(nameOrId) ?? nameOrId;
    if (this.deps.phaseOf('target', id) === undefined) throw unknownMigration(nameOrId);
    this.deps.external.tellRestored(id);
    for (;;) {
      const phase = this.deps.phaseOf('target', id);
      if (phase === 'done') return { migration: id };
      if (phase === undefined || phase === 'aborted') throw this.givenUp(nameOrId, undefined);
      await delay(pollMs);
    }
  }

  async abort(nameOrId: string): Promise<void> {
    const id = this.deps.book.idOf(nameOrId);
    if (id !== undefined) return this.cancelMigration(nameOrId);
    if (this.deps.phaseOf('target', nameOrId) === undefined) throw unknownMigration(nameOrId);
    throw new ServalError('ERR_CONFLICT', {
      subject: `migration ${nameOrId}`,
      reason: 'this is its target; the source decides until the release',
      remedy: "Abort it at the source's agent",
    });
  }

  private known(name: string): string {
    const id = this.deps.book.idOf(name);
    if (id === undefined) throw unknownMigration(name);
    return id;
  }

  private givenUp(name: string, reason: string | undefined): ServalError {
    return new ServalError('ERR_CONFLICT', {
      subject: `migration ${name}`,
      reason: `it was given up${reason === undefined ? '' : `: ${reason}`}`,
      remedy: 'The workload goes on at its source; see `serval migrations`, then try again',
    });
  }
}

const frozenPhases: ReadonlySet<string> = new Set([
  'moving',
  'restoring',
  'restored',
  'released',
  'retiring',
  'retired',
]);

const givenUpPhases: ReadonlySet<string> = new Set(['', 'rollingBack', 'aborted']);

function unknownMigration(name: string): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `migration ${name}`,
    reason: 'this agent knows no such migration, or has not begun it',
    remedy: 'See `serval migrations`',
  });
}

export async function flowsByState(datapath: Datapath): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { state } of await datapath.flows()) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}
