/** Whatever is about a migration carries its id. */
import type { Logger } from '@serval/kube-runtime';

/** The log of one migration. */
export function migrationLog(log: Logger, migration: string, role?: string): Logger {
  return log.child(role === undefined ? { migration } : { migration, role });
}
