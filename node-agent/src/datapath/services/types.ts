/** The service table as the rest of the agent sees it. Implementation: `index.ts`, on pinned maps. */
import type { Endpoint, Protocol } from '../types.js';

/** What clients name. */
export interface ServiceAddress extends Endpoint {
  protocol: Protocol;
}

export const serviceRules = ['FORWARD', 'DEMUX', 'DELAY', 'DROP'] as const;
export const balanceModes = ['RANDOM', 'IN_TURN', 'BY_CLIENT'] as const;

/** What happens to who connects to one virtual IP and port. */
export interface ServiceRule extends ServiceAddress {
  rule: (typeof serviceRules)[number];
  balance: (typeof balanceModes)[number];
  /** of the family of the virtual IP */
  replicas: readonly Endpoint[];
  /** numbers of replicas; a flow takes one of these */
  choices: Uint32Array;
  /** by chance, all alike: the kernel draws one of the replicas without a look at the choices */
  even?: boolean;
  /** how long a SYN waits for an answer, ms; 0: as the kernel has it */
  synTimeoutMs: number;
  /** clients that are replicas themselves and get themselves: cookie of their namespace, number of the replica */
  own: ReadonlyMap<bigint, number>;
}

/** How often, since the service is there. */
export interface ServiceCount {
  /** whose turn it is, where replicas have turns */
  turn: number;
  /** connections that were established; of UDP, sockets that were given a replica */
  resolved: number;
  refused: number;
  waited: number;
}

/** A network namespace whose sockets are resolved. */
export interface ServiceClient {
  /** SO_NETNS_COOKIE */
  cookie: bigint;
  /** 32 bits that stand for the client: what a choice by client goes by */
  number: number;
}

/** What this node's sockets have seen of a replica. */
export interface ReplicaSight extends ServiceAddress {
  connections: number;
  failures: number;
  rttUs: number;
}

/** A socket in trouble. */
export interface SocketEvent {
  kind: 'SILENT' | 'REFUSED' | 'WAITS';
  /** of its network namespace */
  cookie: bigint;
  /** of the socket */
  socket: bigint;
  local: Endpoint;
  /** whom it got */
  replica: Endpoint;
  /** whom it asked for */
  asked: Endpoint;
  /** SYNs that were sent, from 1 */
  attempt: number;
  /** of WAITS: its SYN, a whole IP packet as the socket made it (its checksum is the device's to do) */
  opening: Buffer;
}
