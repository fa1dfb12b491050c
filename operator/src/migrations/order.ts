/** Pure: which of several migrations of one workload goes first. */
import { objectName, type ServalMigration } from '@serval/api';
import { isEnded, phaseOf } from './view.js';

/** One that has begun, else the oldest. @returns undefined where this one is to go */
export function goesBefore(
  migration: ServalMigration,
  others: readonly ServalMigration[],
): ServalMigration | undefined {
  const open = others.filter((other) => !isEnded(other) && objectName(other) !== objectName(migration));
  const [first] = [migration, ...open].sort(byTurn);
  return first === migration ? undefined : first;
}

function byTurn(a: ServalMigration, b: ServalMigration): number {
  return rank(a) < rank(b) ? -1 : 1;
}

/** To the second alike: by name. */
function rank(migration: ServalMigration): string {
  const hasBegun = phaseOf(migration) === 'Pending' ? 1 : 0;
  return `${hasBegun} ${migration.metadata.creationTimestamp ?? ''} ${migration.metadata.name}`;
}
