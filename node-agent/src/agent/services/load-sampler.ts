/**
 * How loaded the replicas on this node are, by the socket tables of its pods. Looked at only when somebody asks, at most
 * once a second and for at most a twentieth of a processor: where the tables are long, less often.
 */
import { serviceKey } from '../../datapath/services/encode.js';
import type { Protocol } from '../../datapath/types.js';
import type { NetnsOperations } from '../../native.js';
import type { ReplicaFlows } from '../../signalling/index.js';
import type { AgentPod } from '../pods.js';
import { replicaFlows } from './replica-flows.js';

export interface SamplerDeps {
  pods: () => AgentPod[];
  count: NetnsOperations['countSockets'];
  /** a pod's sockets can not be counted: told once, until they can be again */
  onError: (pod: string, error: unknown) => void;
  /** ms, of a clock that nobody steps */
  now?: () => number;
}

const everyMs = 1_000;
/** Of one processor. */
const share = 0.05;
/** What was found longer ago than this, and than two looks, is not told any more. */
const oldMs = 10_000;
const protocols: readonly Protocol[] = ['tcp', 'udp'];

export class LoadSampler {
  private found: ReplicaFlows[] = [];
  private running: Promise<void> | undefined;
  private startedAt = -Infinity;
  private pauseMs = everyMs;
  private readonly failing = new Set<string>();
  private readonly now: () => number;

  constructor(private readonly deps: SamplerDeps) {
    this.now = deps.now ?? (() => performance.now());
  }

  /** What the last look found; nothing where that is long ago. */
  get replicas(): readonly ReplicaFlows[] {
    const age = this.now() - this.startedAt;
    return age > Math.max(oldMs, 2 * this.pauseMs) ? [] : this.found;
  }

  /** Somebody wants to know: looks where it is time to. Resolves when that is done, never rejects. */
  look(): Promise<void> {
    if (this.running !== undefined) return this.running;
    if (this.now() - this.startedAt < this.pauseMs) return Promise.resolve();
    this.startedAt = this.now();
    this.running = this.sample().finally(() => (this.running = undefined));
    return this.running;
  }

  /** One namespace after the other: many threads at once would take the processors from whoever is served here. */
  private async sample(): Promise<void> {
    let costMs = 0;
    const found: ReplicaFlows[] = [];
    for (const [netns, pods] of this.byNetns())
      try {
        costMs += await this.countIn(netns, pods, found);
        for (const { name } of pods) this.failing.delete(name);
      } catch (error) {
        for (const { name } of pods) this.failed(name, error);
      }
    this.found = unique(found);
    this.pauseMs = Math.max(everyMs, costMs / share);
  }

  /** What it took of a processor, ms. */
  private async countIn(netns: string, pods: readonly AgentPod[], found: ReplicaFlows[]): Promise<number> {
    let costMs = 0;
    for (const protocol of protocols) {
      const counts = await this.deps.count(netns, protocol);
      const start = this.now();
      for (const pod of pods) found.push(...replicaFlows(pod, protocol, counts));
      costMs += counts.cpuUs / 1_000 + (this.now() - start) + callMs;
    }
    return costMs;
  }

  private byNetns(): Map<string, AgentPod[]> {
    const groups = new Map<string, AgentPod[]>();
    for (const pod of this.deps.pods()) groups.set(pod.netns, [...(groups.get(pod.netns) ?? []), pod]);
    return groups;
  }

  private failed(pod: string, error: unknown): void {
    if (this.failing.has(pod)) return;
    this.failing.add(pod);
    this.deps.onError(pod, error);
  }
}

/** What a call costs besides: a thread is made, enters the namespace and ends. */
const callMs = 0.1;

/** Pods on the host's network may share an address. */
function unique(rows: readonly ReplicaFlows[]): ReplicaFlows[] {
  const byKey = new Map(rows.map((row) => [serviceKey(row), row]));
  return byKey.size === rows.length ? [...rows] : [...byKey.values()];
}
