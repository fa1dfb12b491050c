/** Pure: what can be decided about a migration, and how its status says so. */
import type { Condition } from '@serval/api';
import { migrationId } from './names.js';
import { conditionOf, leftMs, type Phase, type Status, type View } from './view.js';

export type Action =
  /** the finalizer is put on, or taken off */
  | { do: 'hold' | 'let-go' }
  /** which pod it is that moves is written down */
  | { do: 'claim'; uid: string }
  /** the target pod is made, to run on one of these nodes */
  | { do: 'make'; nodes: readonly string[] }
  /** the source is the first that its ReplicaSet gives up */
  | { do: 'yield'; uid: string }
  /** the target gets what it holds: labels and owner references */
  | { do: 'hand-over'; uid: string }
  | { do: 'delete'; which: 'source' | 'target'; uid: string };

/** The status is written first, where it says anything new; then comes the action. */
export interface Decision {
  status?: Status;
  action?: Action;
  /** decide again when this is known */
  ask?: 'sourceNode' | 'target';
  /** looked at again after so long, ms, whatever happens until then */
  againMs?: number;
}

/** Why, in one word for programs and in words for people. */
export interface Cause {
  reason: string;
  message: string;
}

/** It stays as it is, and says what it waits for. */
export function waits(view: View, cause: Cause, more: Omit<Decision, 'status'> = {}): Decision {
  const status = { conditions: conditions(view, said(view, 'Succeeded', 'Unknown', cause)) };
  const left = leftMs(view);
  return { againMs: left > 0 ? left : slowMs, ...more, status };
}

/** After its deadline there is nothing to wait for but others. */
const slowMs = 30_000;

export function goesOn(view: View, phase: Phase, cause: Cause, status: Status = {}): Decision {
  return {
    status: { ...status, phase, conditions: conditions(view, said(view, 'Succeeded', 'Unknown', cause)) },
  };
}

/** Everything is taken back, as far as that is still possible; why is kept in a condition of its own. */
export function aborts(view: View, cause: Cause): Decision {
  const message = `${cause.message}; it is taken back`;
  return {
    status: {
      phase: 'Aborting',
      conditions: [
        said(view, 'Succeeded', 'Unknown', { reason: 'Aborting', message }),
        said(view, 'Aborting', 'True', cause),
      ],
    },
  };
}

export function ends(view: View, phase: 'Succeeded' | 'Failed' | 'Aborted', cause: Cause): Decision {
  const succeeded = said(view, 'Succeeded', phase === 'Succeeded' ? 'True' : 'False', cause);
  return {
    status: {
      ...begun(view),
      phase,
      finishedAt: timeOf(view),
      conditions: conditions(view, succeeded),
    },
  };
}

/** What every status has from the first on. */
export function begun({ migration, now }: View): Status {
  return {
    observedGeneration: migration.metadata.generation ?? 0,
    migration: migrationId(migration),
    startedAt: migration.status?.startedAt ?? now.toISOString(),
  };
}

/** All that there are, with this one as it is now. */
export function conditions({ migration }: View, own: Condition): Condition[] {
  const others = migration.status?.conditions?.filter(({ type }) => type !== own.type) ?? [];
  return [own, ...others];
}

/** `lastTransitionTime` is since when the status is so, whatever the words. */
export function said(view: View, type: string, status: Condition['status'], cause: Cause): Condition {
  const before = conditionOf(view.migration, type);
  return {
    type,
    status,
    observedGeneration: view.migration.metadata.generation ?? 0,
    ...cause,
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : timeOf(view),
  };
}

function timeOf({ now }: View): string {
  return now.toISOString();
}
