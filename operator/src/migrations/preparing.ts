/** Pure: Preparing. The target pod is made, and waited for until a scheduler has chosen its node. No agent has begun. */
import { isGoing, podCondition, type Pod } from '../pods/pod.js';
import { candidates } from './checks.js';
import { aborts, goesOn, waits, type Cause, type Decision } from './decision.js';
import { isOurs, runtimeClass } from './names.js';
import { early, targetLost } from './troubles.js';
import { liveTarget, sourceOf, type View } from './view.js';

const againMs = 5_000;

export function preparing(view: View): Decision {
  const trouble = early(view) ?? refused(view);
  if (trouble !== undefined) return aborts(view, trouble);
  const source = sourceOf(view);
  if (view.target === undefined && source !== undefined) return make(view, source);
  const target = liveTarget(view);
  if (target === undefined) return aborts(view, takenOrLost(view));
  const node = target.spec.nodeName;
  if (node === undefined) return waits(view, unscheduled(target));
  if (isElsewhere(view, node)) return aborts(view, elsewhere(target, node));
  return goesOn(
    view,
    'Moving',
    {
      reason: 'Scheduled',
      message: `target pod ${target.metadata.name} is on node ${node}; the agent of node ${view.migration.status?.sourceNode} has yet to begin`,
    },
    { targetNode: node },
  );
}

function make(view: View, source: Pod): Decision {
  const nodes = candidates(view, source);
  if (nodes.length > 0) return { action: { do: 'make', nodes } };
  const message =
    'no other node has an agent that is Ready and can take the pod in: see kubectl get servalnodes';
  return waits(view, { reason: 'NoCandidate', message }, { againMs });
}

function refused({ answers, migration }: View): Cause | undefined {
  if (answers.refusal === undefined) return undefined;
  if (answers.refusal.includes('RuntimeClass'))
    return {
      reason: 'NoRuntimeClass',
      message: `Kubernetes refuses the target pod ${migration.status?.targetPod} (${answers.refusal}): it needs RuntimeClass ${runtimeClass}, whose handler keeps its containers from starting before the workload comes`,
    };
  return {
    reason: 'TargetRefused',
    message: `Kubernetes refuses the target pod ${migration.status?.targetPod} (${answers.refusal}): quota and policies of the namespace must allow the pod twice while it moves`,
  };
}

function takenOrLost(view: View): Cause {
  const { target, migration } = view;
  if (target === undefined || isOurs(target, migration) || isGoing(target)) return targetLost(view);
  return {
    reason: 'NameTaken',
    message: `pod ${target.metadata.name} is there, and was not made for this move: delete it, and create another ServalMigration`,
  };
}

function unscheduled(target: Pod): Cause {
  const why = podCondition(target, 'PodScheduled')?.message;
  return {
    reason: 'WaitsForScheduler',
    message: `target pod ${target.metadata.name} has no node yet${why === undefined ? '' : `: ${why}`}`,
  };
}

function isElsewhere({ migration: { spec, status } }: View, node: string): boolean {
  return node === status?.sourceNode || (spec.targetNode !== undefined && node !== spec.targetNode);
}

function elsewhere({ metadata }: Pod, node: string): Cause {
  return {
    reason: 'TargetElsewhere',
    message: `target pod ${metadata.name} was put on node ${node}, where it may not be: see who binds pods beside the scheduler`,
  };
}
