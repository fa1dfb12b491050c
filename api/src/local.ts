/** What an agent's local API (its unix socket) says and takes, in JSON. */
import type { ErrorCode } from './errors.js';
import type { ServalServiceSpec } from './crds.generated.js';
import type { MoverName } from './resources.js';

export interface EndpointView {
  address: string;
  port: number;
}

export interface TupleView {
  local: EndpointView;
  remote: EndpointView;
}

/** GET /v1/flows */
export interface FlowView {
  /** 16 hexadecimal digits */
  flowId: string;
  /** `namespace/name` */
  pod: string;
  protocol: 'tcp' | 'udp';
  /** what the pod's transport believes */
  identity: TupleView;
  /** what the network sees */
  wire: TupleView;
  state: 'pending' | 'held' | 'active' | 'inbound' | 'refused';
  /** owner of the rule: 16 hexadecimal digits */
  migration: string;
  packetsOut: number;
  bytesOut: number;
  packetsIn: number;
  bytesIn: number;
}

/** GET /v1/pods */
export interface PodView {
  /** `namespace/name` */
  name: string;
  addresses: string[];
  netns: string;
  mover?: MoverName;
  /** how often it was moved */
  epoch: number;
  /** programs are attached */
  attached: boolean;
  held: boolean;
  /** flow ends that have a rule */
  flows: number;
}

export interface CheckView {
  name: string;
  ok: boolean;
  /** why not */
  reason?: string;
}

/** GET /v1/status */
export interface StatusView {
  node: string;
  version: string;
  /** RFC 3339 */
  startedAt: string;
  ready: boolean;
  checks: CheckView[];
  pods: number;
  /** flow ends that have a rule, by state */
  flows: Record<string, number>;
  /** packets given up, by reason; those that are zero are left out */
  drops: Record<string, number>;
  /** migrations that have not ended, by this node's role */
  openMigrations: Record<string, number>;
  /** ServalNodes that are known */
  nodes: number;
}

/** GET /v1/reports: what each node's agent said last of its pods; this node is among them */
export interface ReportView {
  node: string;
  /** how long ago it was heard, ms; absent where it never was */
  heardMs?: number;
  /** for how long it could not be reached, ms */
  silentMs?: number;
  pods: string[];
  moving: string[];
  left: Array<{ address: string; now: string }>;
  died: string[];
  replicas: Array<{
    protocol: 'tcp' | 'udp';
    address: string;
    port: number;
    established: number;
    backlog: number;
  }>;
}

/** GET /v1/services[?name=NAMESPACE/NAME]: the service table, in pieces while it is written */
export interface ServiceView {
  /** `namespace/name` */
  name: string;
  /** as its resource has them; those that are not served are among the problems */
  virtualIPs: string[];
  policy: ServicePolicy;
  /** somebody on this node connected to it within the last minute, so that the load of its replicas is followed */
  inUse: boolean;
  /** one for each port and address family */
  ports: ServicePortView[];
  /** what is wrong with it, in words */
  problems: string[];
}

/** A ServalService's spec with its defaults filled in. */
export interface ServicePolicy extends Required<
  Pick<ServalServiceSpec, 'locality' | 'balance' | 'affinity' | 'ownReplica' | 'whenEmpty'>
> {
  /** how many replicas one connect() tries */
  attempts: number;
  synTimeoutMs: number;
  maxDelayMs: number;
}

export interface ServicePortView {
  name?: string;
  port: number;
  protocol: 'tcp' | 'udp';
  family: 4 | 6;
  /** where it is served */
  virtualIPs: string[];
  /**
   * FORWARD: to one of several replicas. DEMUX: all of it stays on this node. DELAY: connect() waits, or its flow does at the
   * host of a replica that is moving. DROP: connect() fails.
   */
  rule: 'FORWARD' | 'DEMUX' | 'DELAY' | 'DROP';
  /** how a flow takes one: by chance, in turn, or by a hash of the client */
  balance: 'RANDOM' | 'IN_TURN' | 'BY_CLIENT';
  /** what this node's sockets asked, since the service is there: all, and those of them that were refused or made to wait */
  resolved: number;
  refused: number;
  waited: number;
  /** all that are known, also those of weight 0 */
  replicas: ReplicaView[];
}

export interface ReplicaView extends EndpointView {
  /** the address that its workload is known by, where a move took it elsewhere */
  identity?: string;
  node?: string;
  zone?: string;
  region?: string;
  ring: 'node' | 'zone' | 'region' | 'world';
  /** share of this node's new flows, 0 to 1 */
  weight: number;
  health: 'good' | 'silent' | 'easing' | 'dead';
  ready: boolean;
  draining: boolean;
  /** measured at its node; absent where nothing was heard of late */
  load?: { established: number; backlog: number; moving: boolean };
  /** what this node's sockets have seen of it; absent where none has connected. rttUs is 0 before the first answer */
  rttUs?: number;
  connections?: number;
  failures?: number;
  /** why the weight is what it is */
  reason: string;
}

/** GET /v1/resolve?name=NAME[&from=POD][&port=PORT][&protocol=tcp|udp]: what a connect() would get */
export interface ResolveView {
  /** as it was asked for */
  name: string;
  /** `namespace/name`, or `host/processes` */
  from: string;
  /** absent where the name is an address that no service serves at */
  service?: string;
  /** one for each virtual IP and port that the name stands for */
  answers: ResolveAnswer[];
  /** what is wrong with the service, in words */
  problems: string[];
}

export interface ResolveAnswer {
  asked: EndpointView;
  protocol: 'tcp' | 'udp';
  /** who serves there: another service where that one is older */
  service?: string;
  /** of the service's port */
  portName?: string;
  rule?: ServicePortView['rule'];
  /**
   * replica: it gets one. moved: it is sent after a workload that has left the address. asItIs: nothing is done, it goes to
   * the address itself. waits: for a replica. refused: it fails at once.
   */
  outcome: 'replica' | 'moved' | 'asItIs' | 'waits' | 'refused';
  /** connect() would fail */
  fails: boolean;
  /**
   * What the choice goes by. own, only, client: whoever comes next gets the same. turn: the next one gets it, whoever that is.
   * chance: each connect() draws anew, and `replica` is one draw.
   */
  by?: 'own' | 'only' | 'client' | 'turn' | 'chance';
  /** of replica, and of moved, where nothing but its place is known */
  replica?: EndpointView & Partial<ReplicaView>;
  /** of turn and chance: all that may come */
  chances?: ReplicaChance[];
  /** why, in words */
  reason: string;
  /** what else whoever asked should know */
  note?: string;
}

export interface ReplicaChance extends EndpointView {
  node?: string;
  ring: ReplicaView['ring'];
  health: ReplicaView['health'];
  /** 0 to 1, as the kernel's table has it */
  chance: number;
  /** why its weight is what it is */
  reason: string;
}

/** POST /v1/migrations */
export interface MigrationRequest {
  /** `namespace/name` */
  workload: string;
  targetNode: string;
  mover?: MoverName;
  /** of the ServalMigration; one is made up where it is absent */
  name?: string;
}

/** Answer of freeze: everything is held. */
export interface FrozenView {
  migration: string;
  /** it has to be restored, and said so, within this time */
  restoreWithinMs: number;
}

/** Answer of restored: its flows have been switched. */
export interface SwitchedView {
  migration: string;
}

export interface ErrorView {
  /** one of errorCodes, or ERR_INTERNAL */
  code: ErrorCode | 'ERR_INTERNAL';
  subject: string;
  reason: string;
  remedy: string;
}
