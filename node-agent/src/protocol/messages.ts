/**
 * What agents say to each other: requests, each with its reply. All are idempotent: whoever gets no reply asks again, and
 * whoever is asked again answers again. The sender's node is not part of a message: it is what its certificate says.
 */
import type { Endpoint, FlowTuple, Protocol } from '../datapath/types.js';

/** Raised when an agent of the version before can not follow any more; part of the path of every request. */
export const protocolVersion = 1;

/** name of a ServalNode */
export type NodeName = string;
/** 64 bits in 16 hexadecimal digits, lower case: names one attempt to move one workload */
export type MigrationId = string;
/** 128 random bits in hexadecimal: drawn by a peer at prepare, handed on from the source to the target */
export type Nonce = string;

export interface WorkloadName {
  /** namespaced name: `namespace/name` */
  name: string;
  /** drawn when the workload came to life, kept over all its moves */
  uid: string;
}

/** A flow of the moving workload, as its peer's node is told of it. All addresses as they are on the wire. */
export interface PeerFlow {
  protocol: Protocol;
  /** the workload's end, where it is now */
  now: Endpoint;
  /** the workload's end, where it will be */
  next: Endpoint;
  /** the other end */
  peer: Endpoint;
}

/** The same flow as the target has to know it. */
export interface TargetFlow {
  protocol: Protocol;
  /** what the workload's own transport believes */
  identity: FlowTuple;
  /** on the wire from the target */
  wire: FlowTuple;
}

/**
 * Which flows came and which went since the last message about them. Remove first: a flow whose other end has moved in
 * the meantime is in both.
 */
export interface Difference<Flow> {
  add: Flow[];
  remove: Flow[];
}

/** An opening segment that met the hold: its sender is let off waiting for its timer. */
export interface Stray {
  flow: PeerFlow;
  /** whole IP packet from the peer to the workload's address before the move, base64 */
  packet: string;
}

/** Addresses of the waiting pod, of each family that it has. */
export interface TargetAddresses {
  ipv4?: string;
  ipv6?: string;
}

interface About {
  migration: MigrationId;
}

/**
 * Differences, holds and their end count in their order only. The source numbers what it says to one node, from 1 up;
 * the same number is the same request, asked again; a lower one is late, and is not done any more.
 */
interface Numbered extends About {
  sequence: number;
}

/** Source to target: make a pod for it, and hold that. */
export interface PrepareTarget extends About {
  kind: 'prepareTarget';
  epoch: number;
  workload: WorkloadName;
  /** addresses that its sockets may be bound to, the first is where it is now */
  addresses: string[];
  mover: string;
  /** what the mover of the target has to know, as the source's mover says */
  image: Record<string, unknown>;
}

/** Source to target: rules of the flows to come, not active yet. */
export interface TargetFlows extends Numbered {
  kind: 'targetFlows';
  flows: Difference<TargetFlow>;
}

/** Source to target: everything was carried; restore it, and let it stand still. */
export interface Restore extends Numbered {
  kind: 'restore';
  flows: Difference<TargetFlow>;
}

/** Source to target: it is yours. From here on only the target may run it. */
export interface Release extends About {
  kind: 'release';
  peers: Array<{ node: NodeName; nonce: Nonce }>;
  strays: Stray[];
}

/** Source to target: opening segments that came after the release. */
export interface Strays extends About {
  kind: 'strays';
  strays: Stray[];
}

/** How the switch went at the target, for people, by the `now` that its steps were given; zeros after a restart. */
export interface SwitchReport {
  /** from the release's arrival until the workload ran, ms */
  resumeMs: number;
  /** from the first RSYN until the last acknowledgement, ms */
  switchMs: number;
  /** packets that the peers sent again, as they said */
  replayed: number;
}

/** Target to source: it runs, and its peers know. `missing` are peers that could not be told yet. */
export interface Switched extends About {
  kind: 'switched';
  missing: NodeName[];
  report: SwitchReport;
}

/** Source to peer: these flows will move. */
export interface PreparePeer extends About {
  kind: 'preparePeer';
  epoch: number;
  workload: WorkloadName;
  target: NodeName;
  flows: PeerFlow[];
}

/** Source to peer: keep their packets back from now on; some came, some went. */
export interface Hold extends Numbered {
  kind: 'hold';
  nonce: Nonce;
  flows: Difference<PeerFlow>;
}

/** Source to peer: let them go again, as before; the move is put off, not given up. */
export interface Unhold extends Numbered {
  kind: 'unhold';
  nonce: Nonce;
}

/** RSYN, target to peer: the flows are at their next location now. */
export interface Rsyn extends About {
  kind: 'rsyn';
  epoch: number;
  nonce: Nonce;
  strays: Stray[];
}

/** Source to target or peer: the move is given up. */
export interface Abort extends About {
  kind: 'abort';
}

/** Target or peer to source, peer to target: what became of it? Asked by who waits for too long, or was restarted. */
export interface Outcome extends About {
  kind: 'outcome';
}

/** Target to peer: these flows have ended; their rules may go. */
export interface Ended extends About {
  kind: 'ended';
  flows: PeerFlow[];
}

export type Message =
  | PrepareTarget
  | TargetFlows
  | Restore
  | Release
  | Strays
  | Switched
  | PreparePeer
  | Hold
  | Unhold
  | Rsyn
  | Abort
  | Outcome
  | Ended;

export type MessageKind = Message['kind'];

/** Why an agent says no. Stable names: metrics and tests count them. */
export const refusals = {
  notAuthorised: 'the sender does not host what it wants to move, or was not handed it over',
  staleEpoch: 'the workload has moved since',
  badNonce: 'the nonce is not the one of prepare',
  unknownMigration: 'nothing is known of this migration',
  givenUp: 'this migration was given up',
  busy: 'the other end of a flow is moving itself: wait',
  failed: 'it was tried and did not work; the reason says what',
  conflict: 'the request does not fit to what was agreed',
} as const;

export type Refusal = keyof typeof refusals;

/** What the source's durable word on a migration is. `unknown`: never begun, or long over: counts as given up. */
export type OutcomeWord = 'undecided' | 'released' | 'aborted' | 'unknown';

export interface Refused {
  ok: false;
  refusal: Refusal;
  reason: string;
}

/** What comes back, by kind of request. */
export interface Replies {
  prepareTarget: { addresses: TargetAddresses };
  targetFlows: object;
  restore: object;
  release: object;
  strays: object;
  switched: object;
  /** flows that this node can not move, by index: nobody here has that address */
  preparePeer: { nonce: Nonce; unknown: number[] };
  hold: { unknown: number[] };
  unhold: object;
  rsyn: { replayed: number };
  abort: object;
  /** of the source to anybody; of the target to a peer: `released` with what the RSYN would have said */
  outcome: { word: OutcomeWord; release?: Pick<Release, 'peers' | 'strays'> };
  ended: object;
}

export type Accepted<Kind extends MessageKind> = { ok: true } & Replies[Kind];
export type Reply<Kind extends MessageKind = MessageKind> = Accepted<Kind> | Refused;

/** The same flow in every message about it. */
export function flowKey(flow: PeerFlow): string {
  const { protocol, now, peer } = flow;
  return `${protocol} ${now.address} ${now.port} ${peer.address} ${peer.port}`;
}

export function targetFlowKey({ protocol, identity: { local, remote } }: TargetFlow): string {
  return `${protocol} ${local.address} ${local.port} ${remote.address} ${remote.port}`;
}
