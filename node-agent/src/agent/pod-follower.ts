/** Keeps the pods of this node as the resources declare them. */
import type { ServalPod } from '@serval/api';
import type { Logger, ResourceStore } from '@serval/kube-runtime';
import { OneAtATime } from './one-at-a-time.js';
import { podOf, type AgentPod, type PodRegistry } from './pods.js';
import { podOfWaiting, type WaitingPod } from './target-work.js';
import type { WaitingPods } from './waiting-pods.js';

export interface PodFollowerDeps {
  node: string;
  pods: PodRegistry;
  waiting: Pick<WaitingPods, 'arrivedIn'>;
  log: Logger;
}

export class PodFollower {
  private readonly turns = new OneAtATime();

  constructor(private readonly deps: PodFollowerDeps) {}

  /** Pods that an earlier process made for workloads that may not have come yet. */
  async takeWaiting(waiting: readonly WaitingPod[]): Promise<void> {
    for (const pod of waiting) await this.put(podOfWaiting(pod));
  }

  /** Resolves when all that are declared now are known. Returns what ends it. */
  async follow(store: ResourceStore): Promise<() => void> {
    const first: Array<Promise<void>> = [];
    const end = store.watch('ServalPod', ({ type, object }) => {
      if (object.spec.node !== this.deps.node) return;
      first.push(this.turns.run(podOf(object).name, () => this.take(type, object)));
    });
    await Promise.all(first.splice(0));
    return end;
  }

  private async take(type: 'added' | 'modified' | 'deleted', object: ServalPod): Promise<void> {
    const pod = podOf(object);
    const known = this.deps.pods.get(pod.name);
    if (type !== 'deleted') await this.put(this.withArrival(pod));
    // A workload that has left is gone already, and its name may have come back with another namespace.
    else if (known?.netns === pod.netns) await this.deps.pods.remove(pod.name);
  }

  /** A workload that has just come is written down a moment later: what is told of its pod meanwhile is older. */
  private withArrival(pod: AgentPod): AgentPod {
    const arrived = pod.workload === undefined ? this.deps.waiting.arrivedIn(pod.netns) : undefined;
    const workload = arrived && podOfWaiting(arrived).workload;
    return workload === undefined ? pod : { ...pod, workload };
  }

  /** A pod that can not be used is told of, and waits for its resource to change. */
  private async put(pod: Parameters<PodRegistry['put']>[0]): Promise<void> {
    try {
      await this.deps.pods.put(pod);
    } catch (error) {
      this.deps.log.error({ err: error }, `pod ${pod.name} can not be used`);
    }
  }
}
