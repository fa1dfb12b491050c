/** Follows a migration until it has ended, over restarts of the agent. */
import { setTimeout as sleep } from 'node:timers/promises';
import { migrationResult, type ServalMigration } from '@serval/api';
import { Unreachable, type AgentClient } from './client.js';

/** An agent that is restarted is waited for. */
export const patienceMs = 15_000;
const pauseMs = 250;

/**
 * Tells each state that the agent shows and returns the last. It may be told twice after a restart.
 * @throws Unreachable where the agent stays away, Refused where it does not know the migration (any more)
 */
export async function follow(
  client: AgentClient,
  name: string,
  tell: (migration: ServalMigration) => void,
  waitMs = patienceMs,
): Promise<ServalMigration> {
  let heard: number | undefined;
  const told = (migration: ServalMigration): void => {
    heard = performance.now();
    tell(migration);
  };
  for (;;) {
    try {
      const last = await untilTheEnd(client, name, told);
      if (last !== undefined) return last;
    } catch (error) {
      const away = heard === undefined || performance.now() - heard > waitMs;
      if (!(error instanceof Unreachable) || away) throw error;
    }
    await sleep(pauseMs);
  }
}

/** Undefined where the agent stopped telling before that. */
async function untilTheEnd(
  client: AgentClient,
  name: string,
  tell: (migration: ServalMigration) => void,
): Promise<ServalMigration | undefined> {
  const path = `/v1/migrations/${encodeURIComponent(name)}?watch=1`;
  for await (const migration of client.lines<ServalMigration>(path)) {
    tell(migration);
    if (migrationResult(migration) !== undefined) return migration;
  }
  return undefined;
}
