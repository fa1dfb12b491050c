/**
 * The migrations that begin on this node, as ServalMigrations: what people see of them while they run and afterwards.
 * The protocol's own state is elsewhere; what is lost from here costs nobody a connection.
 */
import {
  objectName,
  ServalError,
  type Condition,
  type ServalMigration,
  type ServalMigrationStatus,
} from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import type { Note } from '../protocol/effects.js';
import type { MigrationId, SwitchReport } from '../protocol/messages.js';
import { backoffMs } from './runner.js';
import { timing, type Span } from './timeline.js';

/** A change of phase is seen at once by those who watch; the file follows when the processor has nothing better to do. */
const writeDelayMs = 200;

/** What is known of one that has begun. */
type BegunStatus = ServalMigrationStatus &
  Required<Pick<ServalMigrationStatus, 'migration' | 'lost' | 'timeline'>>;

interface Entry {
  /** `namespace/name` */
  name: string;
  beganMs: number;
  spans: Span[];
  report?: SwitchReport;
  status: BegunStatus;
  writing?: NodeJS.Timeout;
  /** writes that failed, one after the other */
  failures: number;
}

/** What this agent writes of a status: all, or what is not somebody else's. */
export type OwnPart = (status: ServalMigrationStatus) => ServalMigrationStatus;

/** A status that could not be written is written later, ever more seldom. */
export const statusBackoff = { firstMs: 500, longestMs: 30_000 };

type Watcher = (migration: ServalMigration | undefined) => void;

export class MigrationBook {
  private readonly entries = new Map<MigrationId, Entry>();
  private readonly watchers = new Map<string, Set<Watcher>>();

  constructor(
    private readonly store: ResourceStore,
    private readonly onError: (what: string, error: unknown, migration: MigrationId) => void,
    private readonly own: OwnPart = (status) => status,
  ) {}

  /** `flows`: how many are known by now. */
  begin(object: ServalMigration, migration: MigrationId): void {
    const status: BegunStatus = {
      phase: 'starting',
      migration,
      startedAt: now(),
      timeline: [],
      flows: 0,
      lost: {},
      conditions: [condition('Unknown', 'Running', 'the migration is under way')],
    };
    const entry: Entry = {
      name: objectName(object),
      beganMs: performance.now(),
      spans: [],
      status,
      failures: 0,
    };
    this.entries.set(migration, entry);
    this.changed(migration, entry);
    // Its id at once: a restarted agent would begin it a second time.
    void this.write(migration, entry);
  }

  /** An earlier process began it. What it took until now is not known any more. */
  resume(object: ServalMigration): void {
    const { migration, lost = {}, timeline = [], ...rest } = object.status ?? {};
    if (migration === undefined) return;
    this.entries.set(migration, {
      name: objectName(object),
      beganMs: performance.now(),
      spans: [],
      failures: 0,
      status: { ...rest, migration, lost, timeline },
    });
  }

  /** Whether this object has been begun by this process. */
  knows(name: string): boolean {
    return [...this.entries.values()].some((entry) => entry.name === name);
  }

  idOf(name: string): MigrationId | undefined {
    return this.get(name)?.status?.migration;
  }

  /** By `namespace/name`, name or migration id; with what is newer here than in the file. */
  get(nameOrId: string): ServalMigration | undefined {
    return this.all().find(
      (each) =>
        objectName(each) === nameOrId ||
        each.metadata.name === nameOrId ||
        each.status?.migration === nameOrId,
    );
  }

  all(): ServalMigration[] {
    const newer = new Map([...this.entries.values()].map((entry) => [entry.name, entry.status]));
    return this.store.list('ServalMigration').map((object) => {
      const status = newer.get(objectName(object));
      return status === undefined ? object : { ...object, status: { ...object.status, ...this.own(status) } };
    });
  }

  watch(name: string, watcher: Watcher): () => void {
    const watchers = this.watchers.get(name) ?? new Set();
    this.watchers.set(name, watchers.add(watcher));
    return () => watchers.delete(watcher);
  }

  deleted(name: string): void {
    for (const watcher of this.watchers.get(name) ?? []) watcher(undefined);
    this.watchers.delete(name);
  }

  noted(migration: MigrationId, note: Note): void {
    const entry = this.entries.get(migration);
    if (entry === undefined) return;
    const { status } = entry;
    if (note.what === 'phase') entry.status = { ...status, phase: note.phase };
    else if (note.what === 'lost')
      entry.status = {
        ...status,
        lost: { ...status.lost, [note.reason]: (status.lost[note.reason] ?? 0) + note.flows },
      };
    else if (note.what === 'givenUp') entry.status = { ...status, reason: note.reason };
    else return;
    this.changed(migration, entry);
  }

  span(migration: MigrationId, span: Span): void {
    this.entries.get(migration)?.spans.push(span);
  }

  planned(migration: MigrationId, flows: number): void {
    const entry = this.entries.get(migration);
    if (entry !== undefined) entry.status = { ...entry.status, flows };
  }

  /** What the target told at the switch. */
  reported(migration: MigrationId, report: SwitchReport): void {
    const entry = this.entries.get(migration);
    if (entry === undefined) return;
    entry.report = report;
    const { switchMs, replayed } = report;
    entry.status = { ...entry.status, switchMs, replayed };
    this.changed(migration, entry);
  }

  async end(migration: MigrationId, result: 'succeeded' | 'failed', reason?: string): Promise<void> {
    const entry = this.entries.get(migration);
    if (entry === undefined || entry.status.finishedAt !== undefined) return;
    const why = reason ?? entry.status.reason;
    entry.status = {
      ...entry.status,
      ...timing(entry.spans, entry.beganMs, entry.report),
      phase: result === 'succeeded' ? 'done' : 'rolled back',
      finishedAt: now(),
      conditions: [
        result === 'succeeded'
          ? condition('True', 'Moved', 'the workload runs at the target with its connections')
          : condition(
              'False',
              'RolledBack',
              why ?? 'the migration was given up; the workload runs at the source',
            ),
      ],
      ...(result === 'failed' && why !== undefined ? { reason: why } : {}),
    };
    this.changed(migration, entry);
    await this.write(migration, entry);
  }

  private changed(migration: MigrationId, entry: Entry): void {
    const object = this.get(entry.name);
    for (const watcher of this.watchers.get(entry.name) ?? []) watcher(object);
    entry.writing ??= setTimeout(() => void this.write(migration, entry), writeDelayMs).unref();
  }

  private async write(migration: MigrationId, entry: Entry): Promise<void> {
    clearTimeout(entry.writing);
    delete entry.writing;
    try {
      const { status } = entry;
      await this.store.patchStatus('ServalMigration', entry.name, this.own(status));
      entry.failures = 0;
      if (status.finishedAt !== undefined) this.entries.delete(migration);
    } catch (error) {
      this.onError('write the status of the migration', error, migration);
      if (error instanceof ServalError && error.code === 'ERR_NOT_FOUND') this.gone(migration, entry);
      else this.later(migration, entry);
    }
  }

  /** Nobody has its object any more: there is nobody to be told how it ended. */
  private gone(migration: MigrationId, entry: Entry): void {
    if (entry.status.finishedAt !== undefined) this.entries.delete(migration);
  }

  private later(migration: MigrationId, entry: Entry): void {
    const ms = backoffMs(entry.failures++, statusBackoff);
    entry.writing ??= setTimeout(() => void this.write(migration, entry), ms).unref();
  }
}

function condition(status: Condition['status'], reason: string, message: string): Condition {
  return { type: 'Succeeded', status, reason, message, lastTransitionTime: now() };
}

function now(): string {
  return new Date().toISOString();
}
