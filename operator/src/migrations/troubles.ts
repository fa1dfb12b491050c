/** Pure: for what a move is taken back that has not been released. */
import { isGoing } from '../pods/pod.js';
import type { Cause } from './decision.js';
import { isDeleted, leftMs, sourceOf, type View } from './view.js';

export function early(view: View): Cause | undefined {
  const { migration } = view;
  const { spec } = migration;
  if (isDeleted(migration)) return { reason: 'Deleted', message: 'the ServalMigration was deleted' };
  if (leftMs(view) <= 0)
    return {
      reason: 'DeadlineExceeded',
      message: `it was not done within ${spec.deadlineSeconds ?? 600} s (spec.deadlineSeconds)`,
    };
  const source = sourceOf(view);
  if (source !== undefined && !isGoing(source)) return undefined;
  return {
    reason: 'WorkloadGone',
    message: `pod ${spec.workload.name} was deleted or has ended in the middle of the move`,
  };
}

export function targetLost({ migration }: View): Cause {
  return {
    reason: 'TargetLost',
    message: `target pod ${migration.status?.targetPod} was deleted or has failed: see the Events of the pod and its node`,
  };
}
