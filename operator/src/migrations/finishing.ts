/**
 * Pure: Finishing. The workload runs at the target, for good. The target pod becomes what the source pod was, and the source
 * pod goes. A ReplicaSet must never see fewer pods than it wants, or it makes one.
 */
import { controllerOf, deletionCost, isReady, type Pod } from '../pods/pod.js';
import { conditions, ends, said, waits, type Cause, type Decision } from './decision.js';
import { annotations } from './names.js';
import { targetLost } from './troubles.js';
import { conditionOf, liveTarget, sourceOf, type View } from './view.js';

const againMs = 30_000;
/** No pod can have a lower one. */
export const lowestCost = '-2147483648';

export function finishing(view: View): Decision {
  const source = sourceOf(view);
  const target = liveTarget(view);
  const isLost = target === undefined && !isHandedOver(view);
  if (isLost && view.answers.target === undefined) return { ask: 'target' };
  const held = target !== undefined && holds(target);
  if (target !== undefined && !held && !isHandedOver(view)) return noteHandedOver(view);
  if (source !== undefined && source.metadata.deletionTimestamp === undefined)
    return leave(view, source, target, held);
  if (held) return handOver(view, target);
  return awaitEnd(view, isLost);
}

/** The source pod is there, its processes frozen: they can not say goodbye. */
function leave(view: View, source: Pod, target: Pod | undefined, held: boolean): Decision {
  const uid = source.metadata.uid ?? '';
  const isCounted = controllerOf(source) !== undefined;
  // Its ReplicaSet makes another one where there is no target any more: that is as it should be.
  if (!isCounted || target === undefined || !held)
    return { action: { do: 'delete', which: 'source', uid }, againMs };
  if (!isReady(target)) return waits(view, notReady(target), { againMs });
  if (source.metadata.annotations?.[deletionCost] !== lowestCost)
    return { action: { do: 'yield', uid }, againMs };
  return handOver(view, target);
}

function handOver(view: View, target: Pod): Decision {
  if (!isReady(target)) return waits(view, notReady(target), { againMs });
  return { action: { do: 'hand-over', uid: target.metadata.uid ?? '' }, againMs };
}

function notReady({ metadata }: Pod): Cause {
  return {
    reason: 'WaitsForReady',
    message: `the workload runs in pod ${metadata.name}, which is not Ready yet: its labels and owners come then; kubectl describe pod ${metadata.name} says why it is not`,
  };
}

function holds({ metadata }: Pod): boolean {
  return metadata.annotations?.[annotations.holds] !== undefined;
}

/** Once it has its labels it may go the way of any pod, and the move has not failed for that. */
function isHandedOver({ migration }: View): boolean {
  return conditionOf(migration, 'HandedOver')?.status === 'True';
}

function noteHandedOver(view: View): Decision {
  const message = `pod ${view.migration.status?.targetPod} has the labels and owners of the pod that was moved`;
  const own = said(view, 'HandedOver', 'True', { reason: 'HandedOver', message });
  return { status: { conditions: conditions(view, own) } };
}

/** Who has the source takes it apart, and says so; what was on a node that is gone has gone with it. */
function awaitEnd(view: View, isLost: boolean): Decision {
  const { status } = view.migration;
  const { sourceNode, targetNode, targetPod } = status ?? {};
  if (status?.sourceStep !== 'retired') {
    if (view.answers.sourceNode === undefined) return { ask: 'sourceNode' };
    const message = `the workload has moved; the agent of node ${sourceNode} has yet to say that nothing of it is left there`;
    if (view.answers.sourceNode === 'there')
      return waits(view, { reason: 'WaitsForSource', message }, { againMs });
  }
  if (!isLost)
    return ends(view, 'Succeeded', {
      reason: 'Moved',
      message: `it was moved from node ${sourceNode} to node ${targetNode}, and is pod ${targetPod} now`,
    });
  const { reason, message } = targetLost(view);
  return ends(view, 'Failed', { reason, message: `after the release ${message}; the workload is lost` });
}
