/** Pure: Moving. The agents move it, and do not need the operator; it looks for what they say, and for reasons to stop. */
import { aborts, goesOn, waits, type Cause, type Decision } from './decision.js';
import { early, targetLost } from './troubles.js';
import { isAgentReady, isReleased, leftMs, liveTarget, type View } from './view.js';

/** Nodes are not watched for it. */
const againMs = 10_000;

export function moving(view: View): Decision {
  if (isReleased(view.migration)) return release(view);
  const trouble = rolledBack(view) ?? early(view);
  if (trouble !== undefined) return aborts(view, trouble);
  if (liveTarget(view) === undefined) return aborts(view, targetLost(view));
  return waits(view, progress(view), { againMs: Math.min(againMs, leftMs(view)) });
}

export function release(view: View): Decision {
  const { sourceNode, targetNode, targetPod } = view.migration.status ?? {};
  return goesOn(view, 'Finishing', {
    reason: 'Released',
    message: `node ${sourceNode} has released the workload: it runs in pod ${targetPod} on node ${targetNode} from now on`,
  });
}

function rolledBack({ migration: { status } }: View): Cause | undefined {
  if (status?.sourceStep !== 'aborted') return undefined;
  return {
    reason: 'RolledBack',
    message: `the agents gave it up, and the workload goes on where it was: ${status.reason ?? 'their logs say why'}`,
  };
}

function progress({ migration: { status }, nodes }: View): Cause {
  const { sourceNode = '', targetNode = '', targetPod } = status ?? {};
  const silent = [sourceNode, targetNode].filter((name) => !isAgentReady(nodes.get(name)));
  const but = silent.length === 0 ? '' : `; not Ready: the agent of ${silent.join(' and of ')}`;
  if (status?.sourceStep === undefined)
    return {
      reason: 'Scheduled',
      message: `target pod ${targetPod} is on node ${targetNode}; the agent of node ${sourceNode} has yet to begin${but}`,
    };
  return { reason: 'Moving', message: `the agents of ${sourceNode} and ${targetNode} move it${but}` };
}
