/**
 * Pure: what becomes of the ServalNode of an agent that says nothing. How long it has is measured by when its last word came
 * here: clocks of nodes differ.
 */
import type { Condition, ServalNode } from '@serval/api';

export type NodePlan =
  /** it has been heard of */
  | { do: 'nothing'; againMs: number }
  /** its condition Ready is Unknown from now on */
  | { do: 'doubt'; ready: Condition; conditions: Condition[] }
  /** to be deleted, if its Node is gone as well */
  | { do: 'look-for-node'; againMs: number };

/** Agents renew it every 10 s. */
export const doubtMs = 40_000;
export const goneMs = 300_000;
/** So often it is looked whether the Node of a silent agent is there still. */
const lookMs = 60_000;

/** @param silentMs how long its `lastSeen` has been the same, as seen here */
export function planNode(node: ServalNode, silentMs: number, now: Date): NodePlan {
  if (silentMs < doubtMs) return { do: 'nothing', againMs: doubtMs - silentMs };
  const before = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (before?.status !== 'Unknown') return doubt(node, before, now);
  if (silentMs < goneMs) return { do: 'nothing', againMs: goneMs - silentMs };
  return { do: 'look-for-node', againMs: lookMs };
}

function doubt({ metadata, status }: ServalNode, before: Condition | undefined, now: Date): NodePlan {
  const others = status?.conditions?.filter((condition) => condition !== before) ?? [];
  const since = status?.lastSeen === undefined ? '' : ` since ${status.lastSeen}`;
  const ready: Condition = {
    type: 'Ready',
    status: 'Unknown',
    observedGeneration: metadata.generation ?? 0,
    reason: 'AgentSilent',
    message: `its agent has said nothing${since}: see whether the agent's pod on node ${metadata.name} runs and reaches the API server`,
    lastTransitionTime: now.toISOString(),
  };
  return { do: 'doubt', ready, conditions: [ready, ...others] };
}
