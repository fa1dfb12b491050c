/**
 * Who may ask for what (rule 7): by the node that the sender's certificate names, by who hosts which address, and by what
 * was agreed before. Every check gives the refusal, or undefined where there is nothing against it. Pure.
 */
import type { Directory } from './machine.js';
import { refusal } from './machine.js';
import type {
  NodeName,
  Nonce,
  PeerFlow,
  PreparePeer,
  PrepareTarget,
  Refused,
  TargetFlow,
  WorkloadName,
} from './messages.js';

/** Addresses of a prepared move: what later messages about it must keep to. */
export interface MoveAddresses {
  now: string[];
  next: string[];
  /** ends on this node */
  own: string[];
}

/** Each once: a workload has one or two addresses, and up to 100,000 flows. */
export function moveAddresses(flows: readonly PeerFlow[]): MoveAddresses {
  const now = new Set<string>();
  const next = new Set<string>();
  const own = new Set<string>();
  for (const flow of flows) {
    now.add(flow.now.address);
    next.add(flow.next.address);
    own.add(flow.peer.address);
  }
  return { now: [...now], next: [...next], own: [...own] };
}

export function mergeAddresses(one: MoveAddresses, other: MoveAddresses): MoveAddresses {
  const merge = (a: string[], b: string[]): string[] => [...new Set([...a, ...b])];
  return {
    now: merge(one.now, other.now),
    next: merge(one.next, other.next),
    own: merge(one.own, other.own),
  };
}

function notAuthorised(reason: string): Refused {
  return refusal('notAuthorised', reason);
}

function hostsAll(
  directory: Directory,
  node: NodeName,
  addresses: readonly string[],
  what: string,
): Refused | undefined {
  const stranger = addresses.find((address) => !directory.hosts(node, address));
  return stranger === undefined
    ? undefined
    : notAuthorised(`${what} ${node} does not host ${stranger}, by what is known here`);
}

export function mayPrepareTarget(
  { addresses: [now] }: PrepareTarget,
  from: NodeName,
  directory: Directory,
): Refused | undefined {
  if (now === undefined) return refusal('conflict', 'the workload has no address');
  return hostsAll(directory, from, [now], 'the sender');
}

/** What is here is nobody else's to move, whatever address it is said to have. */
export function isElsewhere(
  workload: WorkloadName,
  from: NodeName,
  isHere: (workload: WorkloadName) => boolean,
): Refused | undefined {
  return isHere(workload) ? notAuthorised(`${from} does not host ${workload.name}: it is here`) : undefined;
}

/** What `preparePeer` and the flows that a `hold` adds must satisfy. */
export function mayMove(
  { now, next }: MoveAddresses,
  source: NodeName,
  target: NodeName,
  directory: Directory,
): Refused | undefined {
  return hostsAll(directory, source, now, 'the source') ?? hostsAll(directory, target, next, 'the target');
}

/** `switched`: the epoch of the last switch of this workload that came here. */
export function isFresh(
  { epoch }: Pick<PreparePeer, 'epoch'>,
  switched: number | undefined,
): Refused | undefined {
  return switched !== undefined && epoch <= switched
    ? refusal('staleEpoch', `epoch ${epoch} is not above ${switched}, which was switched here`)
    : undefined;
}

export function isSource(from: NodeName, { source }: { source: NodeName }): Refused | undefined {
  return from === source ? undefined : notAuthorised(`${from} is not the source of this migration`);
}

export function isTarget(from: NodeName, { target }: { target: NodeName }): Refused | undefined {
  return from === target ? undefined : notAuthorised(`${from} is not the target of this migration`);
}

export function hasNonce(given: Nonce, { nonce }: { nonce: Nonce }): Refused | undefined {
  return given === nonce
    ? undefined
    : refusal('badNonce', 'it is not the nonce that prepare was answered with');
}

interface Prepared {
  target: NodeName;
  nonce: Nonce;
  epoch: number;
}

export function mayRsyn(
  from: NodeName,
  said: { nonce: Nonce; epoch: number },
  prepared: Prepared,
): Refused | undefined {
  return (
    isTarget(from, prepared) ??
    hasNonce(said.nonce, prepared) ??
    (said.epoch === prepared.epoch
      ? undefined
      : refusal('staleEpoch', `epoch ${said.epoch} is not ${prepared.epoch}, the one of prepare`))
  );
}

/** An opening segment may only be about the move that was prepared, and about an end that is here. */
export function isOfMove(
  flow: PeerFlow,
  { now, next }: MoveAddresses,
  here: (address: string) => boolean,
): boolean {
  return now.includes(flow.now.address) && next.includes(flow.next.address) && here(flow.peer.address);
}

/** Images are taken from the source only, and only while a pod waits for them: later they would be stored for nobody. */
export function mayCarry(
  from: NodeName,
  target: { source: NodeName; phase: string } | undefined,
): Refused | undefined {
  if (target === undefined) return notAuthorised('no workload comes here in this migration');
  if (from !== target.source) return isSource(from, target);
  return target.phase === 'prepared'
    ? undefined
    : refusal('conflict', `no pod waits here for images of this migration: it is ${target.phase}`);
}

/** Rules of the target's pod are about its own addresses. */
export function isOwn(flows: readonly TargetFlow[], addresses: readonly string[]): Refused | undefined {
  const stranger = flows.find(({ wire }) => !addresses.includes(wire.local.address));
  return stranger === undefined
    ? undefined
    : refusal('conflict', `${stranger.wire.local.address} is not an address of the waiting pod`);
}
