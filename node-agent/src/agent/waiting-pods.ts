/** Pods that wait for a workload, in memory and on stable storage. */
import { nameOf } from './sandbox.js';
import type { WaitingPod } from './target-work.js';

const prefix = 'waiting-';

interface Store {
  write(key: string, value: unknown): Promise<void>;
  remove(key: string): Promise<void>;
}

export class WaitingPods {
  private readonly pods = new Map<string, WaitingPod>();

  /** `records`: what was found on stable storage, of whatever kind. */
  constructor(
    private readonly store: Store,
    records: ReadonlyMap<string, unknown>,
  ) {
    for (const [key, value] of records)
      if (key.startsWith(prefix)) this.pods.set(key.slice(prefix.length), value as WaitingPod);
  }

  all(): WaitingPod[] {
    return [...this.pods.values()];
  }

  /** A pod with this network waits for a workload that has not come yet. */
  waitsIn(netns: string): boolean {
    return this.all().some(({ sandbox, epoch }) => sandbox.netns === netns && epoch === undefined);
  }

  /** What is known of a workload that came to a pod with this network, until its ServalPod says so. */
  arrivedIn(netns: string): WaitingPod | undefined {
    return this.all().find(({ sandbox, epoch }) => sandbox.netns === netns && epoch !== undefined);
  }

  /** What this node calls the pod that waits in a migration. */
  podOf(migration: string): string | undefined {
    const waiting = this.pods.get(migration);
    return waiting && nameOf(waiting.sandbox, waiting.workload.name);
  }

  get(migration: string): WaitingPod | undefined {
    return this.pods.get(migration);
  }

  async put(migration: string, pod: WaitingPod): Promise<void> {
    this.pods.set(migration, pod);
    await this.store.write(prefix + migration, pod);
  }

  async remove(migration: string): Promise<void> {
    this.pods.delete(migration);
    await this.store.remove(prefix + migration);
  }
}
