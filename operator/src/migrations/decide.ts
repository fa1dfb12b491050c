/** Pure: which phase decides. */
import { aborting } from './aborting.js';
import type { Decision } from './decision.js';
import { ended } from './ended.js';
import { finishing } from './finishing.js';
import { moving } from './moving.js';
import { pending } from './pending.js';
import { preparing } from './preparing.js';
import { isEnded, phaseOf, type Phase, type View } from './view.js';

const byPhase: Readonly<Record<Phase, (view: View) => Decision>> = {
  Pending: pending,
  Preparing: preparing,
  Moving: moving,
  Finishing: finishing,
  Aborting: aborting,
  Succeeded: ended,
  Failed: ended,
  Aborted: ended,
};

export function decide(view: View): Decision {
  return isEnded(view.migration) ? ended(view) : byPhase[phaseOf(view.migration)](view);
}
