/**
 * Replica choice, pure: from what the resources say of a service and what was measured of its replicas to the table that
 * the kernel looks a replica up in. Nothing here does I/O or reads a clock: times are handed in, ms.
 */
export type { ServicePolicy } from '@serval/api';

/** How near a replica is, the nearest first. */
export const rings = ['node', 'zone', 'region', 'world'] as const;
export type Ring = (typeof rings)[number];

/** Where the clients are: this node. */
export interface Place {
  node: string;
  zone?: string;
  region?: string;
}

/** One replica of one port of a service in one address family, as the EndpointSlices and the nodes' reports tell. */
export interface Replica {
  /** canonical text; where a moved workload is now */
  address: string;
  port: number;
  /** the address that its workload is known by, where a move took it elsewhere: in tables it stays who it was */
  identity?: string;
  node?: string;
  zone?: string;
  region?: string;
  /** takes new connections */
  ready: boolean;
  /** terminating, and still serving: keeps its connections, gets no new ones */
  draining: boolean;
}

/** Measured at the replica's node, by its agent. Absent where nothing was heard (yet, or not for long). */
export interface ReplicaLoad {
  /** established flows of this address and port */
  established: number;
  /** connections that wait to be accepted */
  backlog: number;
  /** its workload is being moved right now: it is quiesced or frozen */
  moving: boolean;
}

/** What this node's own clients have met, since the replica is known. */
export interface ReplicaSeen {
  /** answers of SYNs, smoothed, microseconds; 0: none yet */
  rttUs: number;
  /** connections that were established, and SYNs that nobody answered or that were refused */
  connections: number;
  failures: number;
}

/** What is known of a replica at one moment; absent where nothing is. */
export interface Measured {
  load?: ReplicaLoad | undefined;
  seen?: ReplicaSeen | undefined;
  /** its host says that it is gone, or the host itself is */
  dead?: boolean | undefined;
}

/** good: as any other. silent: it did not answer; no new flows until `retryAt`. easing: it is back, and gets more bit by bit. dead: its host says that it is gone. */
export type HealthState = 'good' | 'silent' | 'easing' | 'dead';

export type RuleName = 'FORWARD' | 'DEMUX' | 'DELAY' | 'DROP';

/** A replica in a table, and why it has the weight that it has. */
export interface WeightedReplica extends Replica {
  ring: Ring;
  /** share of this node's new flows, 0 to 1 */
  weight: number;
  health: HealthState;
  load?: ReplicaLoad;
  /** for people: why the weight is what it is, e.g. `zone is loaded beyond its share: 18 % spill over` */
  reason: string;
}

/** What the kernel gets for one port of a service in one address family. */
export interface ServicePlan {
  /**
   * FORWARD: to one of several, wherever. DEMUX: all of it stays on this node. DELAY: connect() waits. DROP: connect() fails.
   * While all replicas are moving the rule is DELAY and the table names them: their own hosts hold what arrives.
   */
  rule: RuleName;
  /** all that are known, also those of weight 0 */
  replicas: WeightedReplica[];
  /** indices into `replicas`; a flow takes the one at (its number modulo the length). Empty for DROP, and for DELAY without replicas. */
  choices: Uint32Array;
}

/** What is wrong with a service or one of its slices, in words: for a condition, a log line, `serval services`. */
export interface ServiceProblem {
  /** what it is about: a service's port, a virtual IP, a slice */
  subject: string;
  reason: string;
  remedy: string;
}
