/**
 * Pure: Aborting. Only the source's agent knows whether it has released the workload, so its word is waited for, however
 * long; where the agents were never told to begin, there is nothing to wait for.
 */
import { isOurs } from './names.js';
import { ends, waits, type Decision } from './decision.js';
import { release } from './moving.js';
import { conditionOf, isAgentReady, isReleased, type View } from './view.js';

const againMs = 30_000;
/**
 * An agent that is Ready so long after the abort has been seen since (it is not when it has been silent for 40 s), and had
 * time to say that it had begun.
 */
export const neverBeganMs = 60_000;

export function aborting(view: View): Decision {
  if (isReleased(view.migration)) return release(view);
  if (isOver(view)) return discard(view);
  const { sourceNode = '' } = view.migration.status ?? {};
  if (isAgentReady(view.nodes.get(sourceNode))) return awaitAgent(view, '', untilNever(view));
  if (view.answers.sourceNode === undefined) return { ask: 'sourceNode' };
  if (view.answers.sourceNode === 'gone') return discard(view);
  return awaitAgent(view, ', which is not Ready: start it, it goes on where it was', againMs);
}

function awaitAgent(view: View, but: string, ms: number): Decision {
  const { message: why = 'it is taken back' } = conditionOf(view.migration, 'Aborting') ?? {};
  const who = `the agent of node ${view.migration.status?.sourceNode}`;
  const message = `${why}; only ${who} knows whether it has released the workload, and is waited for${but}`;
  return waits(view, { reason: 'Aborting', message }, { againMs: Math.max(1, Math.min(againMs, ms)) });
}

function isOver(view: View): boolean {
  const { targetNode, sourceNode = '', sourceStep, targetStep } = view.migration.status ?? {};
  // Without it no agent was told to begin.
  if (targetNode === undefined || sourceStep === 'aborted') return true;
  if (sourceStep !== undefined || targetStep !== undefined) return false;
  return untilNever(view) <= 0 && isAgentReady(view.nodes.get(sourceNode));
}

function untilNever({ migration, now }: View): number {
  const since = conditionOf(migration, 'Aborting')?.lastTransitionTime;
  return since === undefined ? againMs : new Date(since).getTime() + neverBeganMs - now.getTime();
}

/** A copy may lack a pod that was made a moment ago: that there is none is asked for. */
function discard(view: View): Decision {
  const { target, migration, answers } = view;
  if (target !== undefined && isOurs(target, migration) && target.metadata.deletionTimestamp === undefined)
    return { action: { do: 'delete', which: 'target', uid: target.metadata.uid ?? '' } };
  if (target === undefined && answers.target === undefined) return { ask: 'target' };
  return end(view);
}

function end(view: View): Decision {
  const { reason = 'Deleted', message = 'it was taken back' } = conditionOf(view.migration, 'Aborting') ?? {};
  const { status } = view.migration;
  const told = status?.reason === undefined || message.includes(status.reason) ? '' : ` (${status.reason})`;
  const isAsked = reason === 'Deleted';
  if (view.answers.sourceNode === 'gone')
    return ends(view, 'Failed', {
      reason: 'SourceLost',
      message: `node ${status?.sourceNode} is gone, and the workload with it, before it was released`,
    });
  return ends(view, isAsked ? 'Aborted' : 'Failed', {
    reason: isAsked ? 'Aborted' : reason,
    message: `${message}${told}; the workload stays where it was`,
  });
}
