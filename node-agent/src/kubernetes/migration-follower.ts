/** Begins and gives up migrations of this node's workloads as the operator says, by the status of ServalMigrations. */
import { objectName, workloadOf, type ServalMigration } from '@serval/api';
import { WorkQueue, type ResourceStore } from '@serval/kube-runtime';
import type { MigrationBook } from '../agent/book.js';
import type { AgentPod, PodRegistry } from '../agent/pods.js';
import { startEvent, type Movable } from '../agent/start-event.js';
import type { Datapath } from '../datapath/types.js';
import type { Event, Role } from '../protocol/effects.js';
import { decide } from './migration-rules.js';

export interface FollowerDeps {
  node: string;
  datapath: Datapath;
  store: ResourceStore;
  pods: PodRegistry;
  book: MigrationBook;
  core: { phase(role: Role, migration: string): string | undefined };
  dispatch: (event: Event) => void;
  onError: (what: string, error: unknown) => void;
}

/** Those of different workloads don't wait for each other. */
const concurrency = 4;

export class MigrationFollower {
  private readonly queue: WorkQueue;

  constructor(private readonly deps: FollowerDeps) {
    this.queue = new WorkQueue({
      concurrency,
      reconcile: async (key) => {
        await this.reconcile(key);
        return {};
      },
      onError: (key, error) => deps.onError(`ServalMigration ${key}`, error),
    });
  }

  /** Returns what ends it. */
  follow(): () => Promise<void> {
    const { store, book } = this.deps;
    const end = store.watch('ServalMigration', ({ type, object }) => {
      if (type !== 'deleted') return this.queue.add(objectName(object));
      // By somebody who took the finalizer off: there is no operator to wait for.
      this.cancel(object);
      book.deleted(objectName(object));
    });
    return async () => {
      end();
      await this.queue.stop();
    };
  }

  private async reconcile(key: string): Promise<void> {
    const { node, store, pods, core } = this.deps;
    const object = store.get('ServalMigration', key);
    if (object === undefined) return;
    const id = object.status?.migration ?? '';
    const isHere = pods.get(workloadOf(object))?.workload !== undefined;
    const decision = decide(object, { node, phase: core.phase('source', id), isHere });
    if (decision.do === 'nothing') return;
    if (decision.do === 'begin') return this.begin(key, id);
    this.keepBook(object, core.phase('source', id));
    if (decision.do === 'cancel') this.cancel(object);
    if (decision.do === 'end') await this.deps.book.end(id, decision.result, decision.reason);
  }

  private async begin(key: string, migration: string): Promise<void> {
    const { store, pods, book, core, datapath, dispatch } = this.deps;
    const object = await store.patchStatus('ServalMigration', key, { sourceStep: 'preparing' });
    book.begin(object, migration);
    const pod = pods.get(workloadOf(object));
    const obstacle = obstacleOf(object, pod);
    if (obstacle !== undefined) return book.end(migration, 'failed', obstacle);
    const { targetNode: target = '', mover = object.spec.mover } = object.status ?? {};
    try {
      dispatch(await startEvent(datapath, pod as Movable, { migration, target, mover }));
    } catch (error) {
      return book.end(migration, 'failed', (error as Error).message);
    }
    if (core.phase('source', migration) === undefined)
      await book.end(migration, 'failed', book.get(key)?.status?.reason ?? 'the agent has refused it');
  }

  /** An earlier process began it, and may not have said how far it is. */
  private keepBook(object: ServalMigration, phase: string | undefined): void {
    const { book } = this.deps;
    if (book.knows(objectName(object))) return;
    const { sourceStep = 'preparing', migration = '' } = object.status ?? {};
    book.resume({ ...object, status: { ...object.status, phase: sourceStep } });
    if (phase !== undefined) book.noted(migration, { what: 'phase', phase });
  }

  private cancel({ status }: ServalMigration): void {
    const { core, dispatch, node } = this.deps;
    const migration = status?.migration;
    if (migration === undefined || status?.sourceNode !== node) return;
    if (core.phase('source', migration) !== undefined) dispatch({ type: 'cancel', migration });
  }
}

/** What the API server has answered is what the operator goes by: given up in the meantime, it is not begun. */
function obstacleOf(object: ServalMigration, pod: AgentPod | undefined): string | undefined {
  const { metadata, status } = object;
  if (status?.phase !== 'Moving' || metadata.deletionTimestamp !== undefined)
    return 'it was given up before it had begun';
  if (pod?.workload !== undefined) return undefined;
  const workload = workloadOf(object);
  return pod === undefined
    ? `${workload} can not be moved from here: its processes can not be found on this node`
    : `${workload} can not be moved by criu: that needs one container, and processes that can be found; see the annotation serval.io/mover`;
}
