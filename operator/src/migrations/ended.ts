/** Pure: it has ended, and changes no more. What may be left is the finalizer, and a target pod that was made too late. */
import { isOurs, annotations } from './names.js';
import type { Decision } from './decision.js';
import { isHeld, isReleased, type View } from './view.js';

export function ended({ migration, target }: View): Decision {
  // Of a leader that was stopped in the middle of a request, and did not know yet that it leads no more.
  if (target !== undefined && !isReleased(migration) && isOurs(target, migration)) {
    const { uid = '', annotations: has, deletionTimestamp } = target.metadata;
    if (has?.[annotations.holds] !== undefined && deletionTimestamp === undefined)
      return { action: { do: 'delete', which: 'target', uid } };
  }
  return isHeld(migration) ? { action: { do: 'let-go' } } : {};
}
