/**
 * ServalMigrations, brought to their end: reads what there is, asks a phase what is to be done, writes the status that it says,
 * then does it. It keeps nothing in mind between two looks.
 */
import { isDeepStrictEqual } from 'node:util';
import { objectName, workloadOf, type ServalMigration } from '@serval/api';
import type { Outcome } from '@serval/kube-runtime';
import { keyOf, statusOf, type ObjectChange } from '@serval/kube-runtime/kubernetes';
import type { Pod } from '../pods/pod.js';
import type { Told } from '../told.js';
import { Actions, podNames, type ActionDeps } from './actions.js';
import { decide } from './decide.js';
import type { Decision } from './decision.js';
import { MigrationIndex } from './index-of-pods.js';
import { migrationId } from './names.js';
import { goesBefore } from './order.js';
import { tidings } from './tidings.js';
import { isEnded, type Answers, type Status, type View } from './view.js';

export interface MigrationControllerDeps extends ActionDeps {
  /** for people: an Event */
  tell: (told: Told) => void;
  /** once for each that has ended, by its last phase */
  onEnded: (phase: string) => void;
  now?: () => Date;
}

/** What was decided rests on a copy that was old: it is there in a moment. */
const freshMs = 50;
/** Each question is asked once. */
const mostTurns = 4;

export class MigrationController {
  private readonly index = new MigrationIndex();
  private readonly actions: Actions;

  constructor(private readonly deps: MigrationControllerDeps) {
    this.actions = new Actions(deps);
  }

  /** Tells which to look at: all at first, then each that something happened to. Returns what ends it. */
  follow(look: (key: string) => void): { end: () => void; podChanged: (change: ObjectChange) => void } {
    const end = this.deps.store.watch('ServalMigration', ({ type, object }) => {
      const key = objectName(object);
      if (type === 'deleted') this.index.remove(key);
      else this.index.set(object);
      look(key);
      // Others of the workload may have waited for it.
      if (type === 'deleted' || isEnded(object)) this.index.concerned(workloadOf(object)).forEach(look);
    });
    return { end, podChanged: ({ object }) => this.index.concerned(keyOf(object)).forEach(look) };
  }

  /** @param key `namespace/name` */
  async reconcile(key: string): Promise<Outcome> {
    try {
      return await this.bring(key);
    } catch (error) {
      if (statusOf(error) === 409) return { requeueAfterMs: freshMs };
      // It went with its last finalizer, which the watch has yet to tell.
      if (statusOf(error) === 404) return this.gone(key, error);
      throw error;
    }
  }

  private async bring(key: string): Promise<Outcome> {
    let answers: Answers = {};
    for (let turn = 0; turn < mostTurns; turn++) {
      const migration = this.deps.store.get('ServalMigration', key);
      if (migration === undefined) return {};
      const decision = decide(this.view(migration, answers));
      if (decision.ask !== undefined) {
        answers = { ...answers, ...(await this.ask(decision.ask, migration)) };
        continue;
      }
      const written = await this.writeStatus(key, migration, decision.status);
      const refusal = await this.act(key, written, decision);
      if (refusal === undefined) return { requeueAfterMs: decision.againMs };
      answers = { ...answers, refusal };
    }
    return { requeueAfterMs: freshMs };
  }

  private async gone(key: string, error: unknown): Promise<Outcome> {
    if ((await this.deps.store.read('ServalMigration', key)) !== undefined) throw error;
    return {};
  }

  private view(migration: ServalMigration, answers: Answers): View {
    const { store, pods, now = () => new Date() } = this.deps;
    const { source, target } = podNames(migration);
    const others = [...this.index.concerned(workloadOf(migration))]
      .map((key) => store.get('ServalMigration', key))
      .filter((other): other is ServalMigration => other !== undefined && workloadOf(other) === source);
    return {
      migration,
      now: now(),
      workload: pods.get(source) as Pod | undefined,
      target: pods.get(target) as Pod | undefined,
      nodes: { get: (name) => store.get('ServalNode', name), list: () => store.list('ServalNode') },
      before: goesBefore(migration, others),
      answers,
    };
  }

  private async ask(what: 'sourceNode' | 'target', migration: ServalMigration): Promise<Answers> {
    if (what === 'target') {
      await this.actions.readPod(podNames(migration).target);
      return { target: 'known' };
    }
    const name = encodeURIComponent(migration.status?.sourceNode ?? '');
    try {
      await this.deps.client.request({ path: `/api/v1/nodes/${name}` });
      return { sourceNode: 'there' };
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
      return { sourceNode: 'gone' };
    }
  }

  /** Of its own fields those that are new, and only to the version that it was decided upon. */
  private async writeStatus(
    key: string,
    migration: ServalMigration,
    status: Status | undefined,
  ): Promise<ServalMigration> {
    const before = migration.status ?? {};
    const changed = Object.entries(status ?? {}).filter(
      ([name, value]) => !isDeepStrictEqual(before[name as keyof Status], value),
    );
    if (changed.length === 0) return migration;
    const patch = Object.fromEntries(changed) as Status;
    const { resourceVersion } = migration.metadata;
    const after = await this.deps.store.patchStatus('ServalMigration', key, patch, resourceVersion);
    this.tell(migration, after);
    return after;
  }

  private async act(
    key: string,
    migration: ServalMigration,
    { action }: Decision,
  ): Promise<string | undefined> {
    if (action === undefined) return undefined;
    // What is deleted does not come back: no old copy is reason enough.
    if (action.do === 'delete' && (await this.isOld(key, migration))) return undefined;
    return this.actions.carryOut(action, key, migration);
  }

  private async isOld(key: string, { metadata }: ServalMigration): Promise<boolean> {
    const now = await this.deps.store.read('ServalMigration', key);
    return now?.metadata.resourceVersion !== metadata.resourceVersion;
  }

  private tell(before: ServalMigration, after: ServalMigration): void {
    const news = tidings(before, after);
    if (news === undefined) return;
    const pod = this.deps.pods.get(podNames(after).source) as Pod | undefined;
    this.deps.tell({ object: after, ...news });
    if (pod !== undefined) {
      const message = `ServalMigration ${after.metadata.name} (${migrationId(after)}): ${news.message}`;
      this.deps.tell({ object: { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata }, ...news, message });
    }
    if (isEnded(after) && !isEnded(before)) this.deps.onEnded(after.status?.phase ?? '');
  }
}
