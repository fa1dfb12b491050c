/** What the nodes' reports say about replicas, as the choice of replicas asks for it. */
import type { NodeName } from '../../protocol/messages.js';
import { serviceKey } from '../../datapath/services/encode.js';
import type { Protocol } from '../../datapath/types.js';
import type { Replica, ReplicaLoad } from '../../services/types.js';
import type { NodeReport } from '../../signalling/index.js';

export interface ReplicaNewsDeps {
  /** for how many ms a node has not answered; undefined while it does, or was not asked */
  silentSince: (node: NodeName) => number | undefined;
  nodeOf: (address: string) => NodeName | undefined;
  /** these nodes' word about their replicas is asked for from now on */
  setInterests: (nodes: Iterable<NodeName>) => void;
  now?: () => number;
}

interface Heard {
  at: number;
  report: NodeReport;
  loads: ReadonlyMap<string, { established: number; backlog: number }>;
  moving: ReadonlySet<string>;
  died: ReadonlySet<string>;
  pods: ReadonlySet<string>;
}

/** Loads are told every second; what is older than this is no load any more. */
const loadMs = 5_000;
/** A host that has said nothing for so long can't vouch for a replica that its slice does not list as ready. */
const silentMs = 3_000;
/** A workload that was moved more often than that in a circle of nodes that disagree is nowhere. */
const longestChain = 16;

export class ReplicaNews {
  private readonly heard = new Map<NodeName, Heard>();
  private left = new Map<string, string>();
  private readonly listeners: Array<(isConcerned: (replica: Replica) => boolean) => void> = [];
  private readonly leftListeners: Array<() => void> = [];

  constructor(private readonly deps: ReplicaNewsDeps) {}

  /** A node's report, of which only what it may say is left. */
  take(node: NodeName, report: NodeReport): void {
    const before = this.heard.get(node);
    const after: Heard = {
      at: this.now(),
      report,
      loads: new Map(report.replicas.map((each) => [serviceKey(each), each])),
      moving: new Set(report.moving),
      died: new Set(report.died),
      pods: new Set(report.pods),
    };
    this.heard.set(node, after);
    const changed = new Set([
      ...difference(before?.moving, after.moving),
      ...difference(before?.died, after.died),
      ...this.takeLeft(),
    ]);
    if (changed.size === 0) return;
    for (const listener of this.listeners)
      listener(({ address, identity }) => changed.has(address) || changed.has(identity ?? address));
  }

  /** Undefined where its host has said nothing of it, or not of late. */
  load(replica: Replica, protocol: Protocol): ReplicaLoad | undefined {
    const heard = this.hostOf(replica);
    if (heard === undefined || heard.at < this.now() - loadMs) return undefined;
    const { address, port } = replica;
    const load = heard.loads.get(serviceKey({ address, port, protocol }));
    const moving = heard.moving.has(address);
    // Of one that is moving no load has to be known: it gets no flows anyway.
    if (load === undefined) return moving ? { established: 0, backlog: 0, moving } : undefined;
    return { established: load.established, backlog: load.backlog, moving };
  }

  /**
   * Its host says that it is gone; or the host says nothing any more, and the slices don't list it as ready either. That a
   * slice has lost it is not enough: it may have been taken out of the service, and live on.
   */
  isDead(replica: Replica, isListed: boolean): boolean {
    const { address, ready, draining } = replica;
    if (this.left.has(address)) return false;
    const heard = this.hostOf(replica);
    if (heard?.died.has(address) === true) return !heard.pods.has(address);
    if (isListed && (ready || draining)) return false;
    const node = this.nodeOf(replica);
    return node !== undefined && (this.deps.silentSince(node) ?? 0) >= silentMs;
  }

  /** Where a workload is that has left this address. */
  moved(address: string): { address: string; node?: string } | undefined {
    const now = this.left.get(address);
    if (now === undefined) return undefined;
    const node = this.deps.nodeOf(now);
    return node === undefined ? { address: now } : { address: now, node };
  }

  /** By address that was left: where its workload is, at the end of all its moves. */
  leftAddresses(): ReadonlyMap<string, string> {
    return this.left;
  }

  onChange(listener: (isConcerned: (replica: Replica) => boolean) => void): void {
    this.listeners.push(listener);
  }

  onLeftChange(listener: () => void): void {
    this.leftListeners.push(listener);
  }

  follow(nodes: ReadonlySet<NodeName>): void {
    this.deps.setInterests(nodes);
  }

  /** Returns the addresses for which something has changed. */
  private takeLeft(): string[] {
    const steps = new Map<string, string>();
    for (const { report } of this.heard.values())
      for (const { address, now } of report.left) steps.set(address, now);
    const left = new Map<string, string>();
    for (const address of steps.keys()) {
      const end = endOf(address, steps);
      // A workload that has come back has left nothing.
      if (end !== undefined && end !== address) left.set(address, end);
    }
    const changed = [...new Set([...left.keys(), ...this.left.keys()])].filter(
      (address) => left.get(address) !== this.left.get(address),
    );
    this.left = left;
    if (changed.length > 0) for (const listener of this.leftListeners) listener();
    return changed;
  }

  private hostOf(replica: Replica): Heard | undefined {
    const node = this.nodeOf(replica);
    return node === undefined ? undefined : this.heard.get(node);
  }

  /** Addresses tell better than a slice: it may not have heard of a move. */
  private nodeOf({ address, node }: Replica): NodeName | undefined {
    return this.deps.nodeOf(address) ?? node;
  }

  private now(): number {
    return this.deps.now?.() ?? performance.now();
  }
}

function endOf(address: string, steps: ReadonlyMap<string, string>): string | undefined {
  let at = address;
  for (let step = 0; step < longestChain; step++) {
    const next = steps.get(at);
    if (next === undefined) return at;
    at = next;
  }
  return undefined;
}

function difference(before: ReadonlySet<string> | undefined, after: ReadonlySet<string>): string[] {
  return [
    ...[...after].filter((each) => before?.has(each) !== true),
    ...[...(before ?? [])].filter((each) => !after.has(each)),
  ];
}
