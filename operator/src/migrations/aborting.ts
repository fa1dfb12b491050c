/**
 * Pure: Aborting. Only the source's agent knows whether it has released the workload, so its word is waited for, however
 * long; where the agents were never told to begin, there is nothing to wait for.
 */
import { isOurs } from './names.js';
import { ends, waits, type Decision } from './decision.js';
import { release } from './moving.js';
import { conditionOf, isAgentReady, isReleased, type View } from './view.js';

const againMs = 30_000;

export function aborting(view: View): Decision {
  if (isReleased(view.migration)) return release(view);
  if (isOver(view)) return discard(view);
  const { sourceNode = '' } = view.migration.status ?? {};
  if (isAgentReady(view.nodes.get(sourceNode))) return awaitAgent(view, '');
  if (view.answers.sourceNode === undefined) return { ask: 'sourceNode' };
  if (view.answers.sourceNode === 'gone') return discard(view);
  return awaitAgent(view, ', which is not Ready: start it, it goes on where it was');
}

function awaitAgent(view: View, but: string): Decision {
  const { message: why = 'it is taken back' } = conditionOf(view.migration, 'Aborting') ?? {};
  const who = `the agent of node ${view.migration.status?.sourceNode}`;
  const message = `${why}; only ${who} knows whether it has released the workload, and is waited for${but}`;
  return waits(view, { reason: 'Aborting', message }, { againMs });
}

function isOver(view: View): boolean {
  const { targetNode, sourceStep, targetStep } = view.migration.status ?? {};
  // Without it no agent was told to begin.
  if (targetNode === undefined || sourceStep === 'aborted') return true;
  // An agent says that it begins before it does, and goes by the answer: in what was read here since the abort was written there
  // would be its word, and after that it finds the abort in the answer.
  return sourceStep === undefined && targetStep === undefined;
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
