/** What an agent's local API (its unix socket) says and takes, in JSON. */
import type { ErrorCode } from './errors.js';
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
