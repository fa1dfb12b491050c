/**
 * What this agent writes of a ServalMigration's status in Kubernetes: its own fields alone. The rest is the operator's, and
 * that of the agent at the other end.
 */
import { objectName, ServalError, type ServalMigration, type ServalMigrationStatus } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { statusBackoff } from '../agent/book.js';
import { backoffMs } from '../agent/runner.js';
import type { MigrationId } from '../protocol/messages.js';

/** The book's own words for a beginning and its ends, by the protocol's steps. */
const steps: Readonly<Record<string, string>> = {
  starting: 'preparing',
  done: 'retired',
  'rolled back': 'aborted',
};

/** Of what directory mode would write: the part of the source's agent. */
export function sourcePart({ phase, ...status }: ServalMigrationStatus): ServalMigrationStatus {
  const { timeline, flows, lost, freezeMs, switchMs, replayed, reason } = status;
  const own = { timeline, flows, lost, freezeMs, switchMs, replayed, reason };
  const known = Object.entries(own).filter(([, value]) => value !== undefined);
  return {
    ...Object.fromEntries(known),
    ...(phase === undefined ? {} : { sourceStep: steps[phase] ?? phase }),
  };
}

/** The one whose id this is. */
export function migrationOf(store: ResourceStore, id: MigrationId): ServalMigration | undefined {
  return store.list('ServalMigration').find(({ status }) => status?.migration === id);
}

/** How far the target's part of each migration is. The last word of each is written, however long that takes. */
export class TargetSteps {
  private readonly wanted = new Map<MigrationId, string>();
  private readonly writing = new Set<MigrationId>();
  private isStopped = false;

  constructor(
    private readonly store: ResourceStore,
    private readonly onError: (what: string, error: unknown, migration: MigrationId) => void,
  ) {}

  noted(migration: MigrationId, step: string): void {
    this.wanted.set(migration, step);
    if (!this.writing.has(migration)) void this.write(migration);
  }

  stop(): void {
    this.isStopped = true;
  }

  private async write(migration: MigrationId): Promise<void> {
    this.writing.add(migration);
    for (let failures = 0; !this.isStopped;) {
      const step = this.wanted.get(migration);
      const object = migrationOf(this.store, migration);
      // Its object is gone: there is nobody to be told.
      if (step === undefined || object === undefined || object.status?.targetStep === step) break;
      try {
        await this.store.patchStatus('ServalMigration', objectName(object), { targetStep: step });
        failures = 0;
      } catch (error) {
        this.onError('write how far the target is', error, migration);
        if (error instanceof ServalError && error.code === 'ERR_NOT_FOUND') break;
        const ms = backoffMs(failures++, statusBackoff);
        await new Promise((resolve) => setTimeout(resolve, ms).unref());
      }
      if (this.wanted.get(migration) === step && failures === 0) break;
    }
    this.writing.delete(migration);
    this.wanted.delete(migration);
  }
}
