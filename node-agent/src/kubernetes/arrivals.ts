/**
 * Workloads that have come to pods of this node, on stable storage: by whose uid they go, how often they have moved, which
 * addresses they had. The API server's pod says nothing of it, and a restarted agent has to know.
 */
import type { Arrival } from './pod-object.js';

const prefix = 'arrived-';

export interface ArrivalStore {
  write(key: string, value: unknown): Promise<void>;
  remove(key: string): Promise<void>;
}

export class Arrivals {
  private readonly byPod = new Map<string, Arrival>();

  /** `records`: what was found on stable storage, of whatever kind. */
  constructor(
    private readonly store: ArrivalStore,
    records: ReadonlyMap<string, unknown>,
  ) {
    for (const [key, value] of records)
      if (key.startsWith(prefix)) this.byPod.set(key.slice(prefix.length), value as Arrival);
  }

  /** @param pod uid of the pod, as the API server has it */
  get(pod: string): Arrival | undefined {
    return this.byPod.get(pod);
  }

  pods(): string[] {
    return [...this.byPod.keys()];
  }

  async put(pod: string, arrival: Arrival): Promise<void> {
    this.byPod.set(pod, arrival);
    await this.store.write(prefix + pod, arrival);
  }

  async remove(pod: string): Promise<void> {
    if (this.byPod.delete(pod)) await this.store.remove(prefix + pod);
  }
}
