/** Pure: Pending. Nothing has been done yet: it is looked whether it can be, and waited for what has to come first. */
import { isHeld, isDeleted, leftMs, conditionOf, isAgentReady, type View } from './view.js';
import { candidates, moverOf, refusal } from './checks.js';
import { begun, ends, goesOn, waits, type Cause, type Decision } from './decision.js';
import { annotations, migrationId, targetName } from './names.js';
import type { Pod } from '../pods/pod.js';

/** Others are not watched for it. */
const againMs = 5_000;

export function pending(view: View): Decision {
  const { migration, workload } = view;
  if (isDeleted(migration))
    return ends(view, 'Aborted', { reason: 'Aborted', message: 'it was deleted before anything was done' });
  if (!isHeld(migration)) return { action: { do: 'hold' } };
  const refused = refusal(view);
  if (refused !== undefined || workload === undefined)
    return ends(view, 'Failed', refused ?? { reason: 'WorkloadNotFound', message: 'there is no such pod' });
  if (leftMs(view) <= 0) return ends(view, 'Failed', overdue(view));
  const wait = waitsFor(view, workload);
  if (wait !== undefined)
    return asPending(view, waits(view, wait, { againMs: Math.min(againMs, leftMs(view)) }));
  return begin(view, workload);
}

function overdue({ migration }: View): Cause {
  const { message = 'nothing' } = conditionOf(migration, 'Succeeded') ?? {};
  return {
    reason: 'DeadlineExceeded',
    message: `it was not begun within spec.deadlineSeconds; the last it waited for: ${message}`,
  };
}

function waitsFor(view: View, workload: Pod): Cause | undefined {
  const { before, nodes, migration } = view;
  const source = workload.spec.nodeName ?? '';
  if (before !== undefined)
    return {
      reason: 'WaitsForTurn',
      message: `ServalMigration ${before.metadata.name} moves the same pod, and goes first`,
    };
  if (workload.metadata.annotations?.[annotations.holds] !== undefined)
    return {
      reason: 'WaitsForTurn',
      message: `pod ${workload.metadata.name} takes in another move, which has to end first`,
    };
  if (!isAgentReady(nodes.get(source))) return notReady(source);
  const { targetNode } = migration.spec;
  if (targetNode !== undefined && !isAgentReady(nodes.get(targetNode))) return notReady(targetNode);
  if (candidates(view, workload).length > 0) return undefined;
  return {
    reason: 'NoCandidate',
    message: 'no other node has an agent that is Ready and can take the pod in: see kubectl get servalnodes',
  };
}

function notReady(node: string): Cause {
  return {
    reason: 'AgentNotReady',
    message: `the agent of node ${node} is not Ready: kubectl describe servalnode ${node} says why`,
  };
}

function asPending(view: View, decision: Decision): Decision {
  return { ...decision, status: { ...begun(view), phase: 'Pending', ...decision.status } };
}

/** Which pod it is stands in the object before the rest: one of the same name may take its place. */
function begin(view: View, workload: Pod): Decision {
  const { migration } = view;
  const { uid = '', name } = workload.metadata;
  const { nodeName: sourceNode = '' } = workload.spec;
  if (migration.metadata.annotations?.[annotations.workload] !== uid) return { action: { do: 'claim', uid } };
  const targetPod = targetName(workload, migrationId(migration));
  const to = migration.spec.targetNode === undefined ? '' : ` to node ${migration.spec.targetNode}`;
  return goesOn(
    view,
    'Preparing',
    {
      reason: 'Started',
      message: `pod ${name} moves from node ${sourceNode}${to}; its target pod ${targetPod} is made`,
    },
    { ...begun(view), sourceNode, targetPod, mover: moverOf(view, workload) },
  );
}
