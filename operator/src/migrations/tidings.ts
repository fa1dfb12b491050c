/** Pure: what is told of a change of a migration's status. */
import type { ServalMigration } from '@serval/api';
import type { Told } from '../told.js';
import { conditionOf } from './view.js';

/** Each reason once, as it is begun to be so; what is only said in other words is not told again. */
export function tidings(before: ServalMigration, after: ServalMigration): Omit<Told, 'object'> | undefined {
  const now = conditionOf(after, 'Succeeded');
  if (now === undefined || now.reason === conditionOf(before, 'Succeeded')?.reason) return undefined;
  const { reason, message } = now;
  const isBad = after.status?.phase === 'Failed' || reason === 'Aborting';
  return { type: isBad ? 'Warning' : 'Normal', reason, message };
}
