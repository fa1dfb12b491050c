/**
 * Pure: what becomes of the ServalNode of an agent that gives no sign of life. Its pod is one, as long as the kubelet finds it
 * Ready; so is what it writes of itself, which it does only when something has changed: every agent watches all ServalNodes, and
 * a word of each every 10 s would be 500 writes a second to 5,000 of them. How long there has been none is measured by when the
 * last came here: clocks of nodes differ.
 */
import type { Condition, ServalNode } from '@serval/api';

export type NodePlan =
  /** it lives, or has not been silent for long enough; without `againMs` until something happens */
  | { do: 'nothing'; againMs?: number }
  /** its condition Ready is Unknown from now on */
  | { do: 'doubt'; ready: Condition; conditions: Condition[] }
  /** to be deleted, if its Node is gone as well */
  | { do: 'look-for-node'; againMs: number };

/** A node whose kubelet is silent is given up by Kubernetes after as long, and its pods are not Ready then. */
export const doubtMs = 40_000;
export const goneMs = 300_000;
/** So often it is looked whether the Node of a silent agent is there still. */
const lookMs = 60_000;

/** @param silentMs how long there has been no sign of life, as seen here; undefined: its pod is Ready */
export function planNode(node: ServalNode, silentMs: number | undefined, now: Date): NodePlan {
  if (silentMs === undefined) return { do: 'nothing' };
  if (silentMs < doubtMs) return { do: 'nothing', againMs: doubtMs - silentMs };
  const before = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (before?.status !== 'Unknown') return doubt(node, before, now);
  if (silentMs < goneMs) return { do: 'nothing', againMs: goneMs - silentMs };
  return { do: 'look-for-node', againMs: lookMs };
}

function doubt({ metadata, status }: ServalNode, before: Condition | undefined, now: Date): NodePlan {
  const others = status?.conditions?.filter((condition) => condition !== before) ?? [];
  const ready: Condition = {
    type: 'Ready',
    status: 'Unknown',
    observedGeneration: metadata.generation ?? 0,
    reason: 'AgentSilent',
    message: `no pod of an agent is Ready on node ${metadata.name}: see kubectl get pods -A -l app.kubernetes.io/component=agent -o wide`,
    lastTransitionTime: now.toISOString(),
  };
  return { do: 'doubt', ready, conditions: [ready, ...others] };
}
