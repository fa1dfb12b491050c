/** Begins the migrations that are declared for workloads of this node, and gives up those whose object is deleted. */
import { randomBytes } from 'node:crypto';
import { migrationResult, objectName, workloadOf, type ServalMigration } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import type { Datapath } from '../datapath/types.js';
import type { Event, Role } from '../protocol/effects.js';
import type { MigrationBook } from './book.js';
import type { PodRegistry } from './pods.js';
import { startEvent, type Movable } from './start-event.js';

export interface StarterDeps {
  datapath: Datapath;
  store: ResourceStore;
  pods: PodRegistry;
  book: MigrationBook;
  core: { phase(role: Role, migration: string): string | undefined };
  dispatch: (event: Event) => void;
}

export class MigrationStarter {
  constructor(private readonly deps: StarterDeps) {}

  /** Returns what ends it. */
  follow(): () => void {
    return this.deps.store.watch('ServalMigration', ({ type, object }) => {
      if (type === 'deleted') this.deleted(object);
      else this.declared(object);
    });
  }

  private declared(object: ServalMigration): void {
    if (migrationResult(object) !== undefined || this.deps.book.knows(objectName(object))) return;
    const begun = object.status?.migration;
    if (begun === undefined) void this.begin(object);
    else this.goOn(object, begun);
  }

  /** An earlier process began it: the protocol goes on with it, or has nothing to go on with. */
  private goOn(object: ServalMigration, migration: string): void {
    const { book, core } = this.deps;
    book.resume(object);
    const phase = core.phase('source', migration);
    if (phase === 'retired') void book.end(migration, 'succeeded');
    else if (phase === undefined || phase === 'aborted')
      void book.end(migration, 'failed', 'the agent was restarted in the middle of it');
  }

  private async begin(object: ServalMigration): Promise<void> {
    const { book, pods, core, datapath, dispatch } = this.deps;
    const { targetNode, mover } = object.spec;
    const pod = pods.get(workloadOf(object));
    // It is of another node, or nobody has chosen a node for it yet.
    if (pod?.workload === undefined || targetNode === undefined) return;
    const migration = randomBytes(8).toString('hex');
    book.begin(object, migration);
    try {
      dispatch(await startEvent(datapath, pod as Movable, { migration, target: targetNode, mover }));
    } catch (error) {
      await book.end(migration, 'failed', (error as Error).message);
      return;
    }
    if (core.phase('source', migration) === undefined)
      await book.end(migration, 'failed', book.get(objectName(object))?.status?.reason ?? 'it was refused');
  }

  private deleted(object: ServalMigration): void {
    const migration = this.deps.book.idOf(objectName(object)) ?? object.status?.migration;
    if (migration !== undefined && migrationResult(object) === undefined)
      this.deps.dispatch({ type: 'cancel', migration });
    this.deps.book.deleted(objectName(object));
  }
}
