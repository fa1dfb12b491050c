/** What came and what went between two lists of flows. Pure; linear. */
import { flowKey, targetFlowKey, type Difference, type PeerFlow, type TargetFlow } from './messages.js';

function difference<Flow>(before: Flow[], after: Flow[], key: (flow: Flow) => string): Difference<Flow> {
  if (before === after) return { add: [], remove: [] };
  if (before.length === 0) return { add: after, remove: [] };
  const gone = new Map(before.map((flow) => [key(flow), flow]));
  const add: Flow[] = [];
  for (const flow of after) if (!gone.delete(key(flow))) add.push(flow);
  return { add, remove: [...gone.values()] };
}

/** A flow that is to have another wire port is another rule. */
export function peerDifference(before: PeerFlow[], after: PeerFlow[]): Difference<PeerFlow> {
  return difference(before, after, (flow) => `${flowKey(flow)} ${flow.next.address} ${flow.next.port}`);
}

/** A flow whose other end has moved in the meantime is another rule. */
export function targetDifference(before: TargetFlow[], after: TargetFlow[]): Difference<TargetFlow> {
  return difference(before, after, (flow) => {
    const { local, remote } = flow.wire;
    return `${targetFlowKey(flow)} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
  });
}

export function isEmpty({ add, remove }: Difference<unknown>): boolean {
  return add.length === 0 && remove.length === 0;
}
