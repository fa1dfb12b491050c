/** Pure: how many migrations are open, by phase. */
import type { ServalMigration } from '@serval/api';
import { isEnded, phaseOf } from './view.js';

const open = ['Pending', 'Preparing', 'Moving', 'Finishing', 'Aborting'] as const;

/** Phases without any are named too: what was counted before must not stay. */
export function openByPhase(migrations: readonly ServalMigration[]): Record<string, number> {
  const counts: Record<string, number> = Object.fromEntries(open.map((phase) => [phase, 0]));
  for (const migration of migrations) {
    if (isEnded(migration)) continue;
    const phase = phaseOf(migration);
    counts[phase] = (counts[phase] ?? 0) + 1;
  }
  return counts;
}
