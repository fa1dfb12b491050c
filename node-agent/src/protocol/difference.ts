/** What came and what went between two lists of flows. Pure; linear. */
import type { Endpoint } from '../datapath/types.js';
import { flowKey, targetFlowKey, type Difference, type PeerFlow, type TargetFlow } from './messages.js';

interface Kind<Flow> {
  isSame: (one: Flow, other: Flow) => boolean;
  key: (flow: Flow) => string;
}

/** So many neighbours are looked at where the lists part. */
const window = 8;

/**
 * Lists of 100,000 flows are compared while a workload is frozen, and as a rule they are the same but for a few flows: the
 * kernel lists its sockets in the order of its table. So pairs are passed by as they come, without a key for each.
 */
function difference<Flow>(before: Flow[], after: Flow[], kind: Kind<Flow>): Difference<Flow> {
  if (before === after) return { add: [], remove: [] };
  const [gone, come]: [Flow[], Flow[]] = [[], []];
  let [left, right] = [0, 0];
  while (left < before.length && right < after.length) {
    const skip = step(before, left, after, right, kind);
    for (let index = 0; index < skip.left; index++) gone.push(before[left++] as Flow);
    for (let index = 0; index < skip.right; index++) come.push(after[right++] as Flow);
    if (skip.isSame) {
      left++;
      right++;
    }
  }
  return keyed(gone.concat(before.slice(left)), come.concat(after.slice(right)), kind);
}

/** How many to pass by on either side until the next pair; one of each where there is none near. */
function step<Flow>(
  before: Flow[],
  left: number,
  after: Flow[],
  right: number,
  { isSame }: Kind<Flow>,
): { left: number; right: number; isSame: boolean } {
  for (let ahead = 0; ahead < window; ahead++) {
    if (isPair(before[left + ahead], after[right], isSame)) return { left: ahead, right: 0, isSame: true };
    if (isPair(before[left], after[right + ahead], isSame)) return { left: 0, right: ahead, isSame: true };
  }
  return { left: 1, right: 1, isSame: false };
}

function isPair<Flow>(
  one: Flow | undefined,
  other: Flow | undefined,
  isSame: (one: Flow, other: Flow) => boolean,
): boolean {
  return one !== undefined && other !== undefined && isSame(one, other);
}

/** What passed its twin by is not new. */
function keyed<Flow>(before: Flow[], after: Flow[], { key }: Kind<Flow>): Difference<Flow> {
  if (before.length === 0 || after.length === 0) return { add: after, remove: before };
  const gone = new Map(before.map((flow) => [key(flow), flow]));
  const add: Flow[] = [];
  for (const flow of after) if (!gone.delete(key(flow))) add.push(flow);
  return { add, remove: [...gone.values()] };
}

function isSameEnd(one: Endpoint, other: Endpoint): boolean {
  return one.port === other.port && one.address === other.address;
}

/** A flow that is to have another wire port is another rule. */
const peerKind: Kind<PeerFlow> = {
  isSame: (one, other) =>
    isSameEnd(one.peer, other.peer) &&
    isSameEnd(one.now, other.now) &&
    isSameEnd(one.next, other.next) &&
    one.protocol === other.protocol,
  key: (flow) => `${flowKey(flow)} ${flow.next.address} ${flow.next.port}`,
};

/** A flow whose other end has moved in the meantime is another rule. */
const targetKind: Kind<TargetFlow> = {
  isSame: ({ identity, wire, protocol }, other) =>
    isSameEnd(identity.remote, other.identity.remote) &&
    isSameEnd(identity.local, other.identity.local) &&
    isSameEnd(wire.remote, other.wire.remote) &&
    isSameEnd(wire.local, other.wire.local) &&
    protocol === other.protocol,
  key: (flow) => {
    const { local, remote } = flow.wire;
    return `${targetFlowKey(flow)} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
  },
};

export function peerDifference(before: PeerFlow[], after: PeerFlow[]): Difference<PeerFlow> {
  return difference(before, after, peerKind);
}

export function targetDifference(before: TargetFlow[], after: TargetFlow[]): Difference<TargetFlow> {
  return difference(before, after, targetKind);
}

export function isEmpty({ add, remove }: Difference<unknown>): boolean {
  return add.length === 0 && remove.length === 0;
}
