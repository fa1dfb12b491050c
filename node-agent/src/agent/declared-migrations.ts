/** Migrations as somebody declares them and is told of them: by files, or by the operator. */
import type { Logger } from '@serval/kube-runtime';
import type { Datapath } from '../datapath/types.js';
import type { Event } from '../protocol/effects.js';
import { MigrationBook } from './book.js';
import type { Closer, Ground } from './ground.js';
import { migrationLog } from './log.js';
import { MigrationStarter } from './migration-starter.js';
import type { PodRegistry } from './pods.js';
import type { ProtocolCore } from './protocol-core.js';

export interface DeclaredMigrations {
  book: MigrationBook;
  /** the target's part, on this node, has come so far */
  targetAt(migration: string, phase: string): void;
  /** Begins what is declared for workloads of this node. Returns what ends it. */
  follow(parts: FollowParts): Closer;
}

interface FollowParts {
  node: string;
  pods: PodRegistry;
  core: ProtocolCore;
  dispatch: (event: Event) => void;
}

type Failed = (what: string, error: unknown, migration: string) => void;

export async function declaredMigrations(ground: Ground, log: Logger): Promise<DeclaredMigrations> {
  const failed: Failed = (what, error, migration) =>
    migrationLog(log, migration).error({ err: error }, `${what} failed`);
  const { kubernetes } = ground.resources;
  return kubernetes === undefined ? byFiles(ground, failed) : byOperator(ground, failed, log);
}

function byFiles({ store, datapath }: Ground, failed: Failed): DeclaredMigrations {
  const book = new MigrationBook(store, failed);
  return {
    book,
    targetAt: () => undefined,
    follow: ({ pods, core, dispatch }) =>
      new MigrationStarter({ datapath, store, pods, book, core, dispatch }).follow(),
  };
}

async function byOperator(
  { store, datapath }: { store: Ground['store']; datapath: Datapath },
  failed: Failed,
  log: Logger,
): Promise<DeclaredMigrations> {
  const { MigrationFollower, sourcePart, TargetSteps } = await import('../kubernetes/index.js');
  const book = new MigrationBook(store, failed, sourcePart);
  const steps = new TargetSteps(store, failed);
  return {
    book,
    targetAt: (migration, phase) => steps.noted(migration, phase),
    follow: (parts) => {
      // What an earlier process has come to, and may not have said.
      for (const { role, migration, phase } of parts.core.views())
        if (role === 'target') steps.noted(migration, phase);
      const follower = new MigrationFollower({
        ...parts,
        datapath,
        store,
        book,
        onError: (what, error) => log.error({ err: error }, `${what} failed`),
      });
      const end = follower.follow();
      return async () => {
        steps.stop();
        await end();
      };
    },
  };
}
