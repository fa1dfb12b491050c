/** What a load of many short connections comes to: flows at the replicas, by their own socket tables, and whom clients got. */
import type { Churned, LineClient } from '../clients/index.js';
import { establishedAt, type Pod } from '../lab/index.js';

const everyMs = 500;

/** What is averaged over; times are CLOCK_REALTIME, ms. */
export interface Window {
  from: number;
  to: number;
}

export class LoadWatch {
  private readonly samples: Array<{ at: number; flows: Map<string, number> }> = [];
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly replicas: readonly Pod[],
    port: number,
  ) {
    this.timer = setInterval(() => {
      const flows = new Map(replicas.map((pod) => [pod.name, establishedAt(pod, port)]));
      this.samples.push({ at: Date.now(), flows });
    }, everyMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Flows of each replica, by its name. */
  flows({ from, to }: Window): Map<string, number> {
    const within = this.samples.filter(({ at }) => at >= from && at < to);
    const mean = (name: string): number =>
      within.reduce((sum, { flows }) => sum + (flows.get(name) ?? 0), 0) / within.length;
    return new Map(this.replicas.map(({ name }) => [name, mean(name)]));
  }

  /** Flows for each replica of a zone, of the mean of all: 1 is even. */
  zones(window: Window): Map<string, number> {
    const flows = this.flows(window);
    const all = meanOf([...flows.values()]);
    const zones = new Map<string, number>();
    for (const { host } of this.replicas) {
      const own = this.replicas.filter((each) => each.host.site === host.site);
      zones.set(host.site, meanOf(own.map(({ name }) => flows.get(name) ?? 0)) / all);
    }
    return zones;
  }
}

/** How far the one that is farthest off is off 1. */
export function spreadOf(shares: Iterable<number>): number {
  return Math.max(...[...shares].map((share) => Math.abs(share - 1)));
}

/** Connections that these clients opened, by who answered. */
export function opened(
  clients: ReadonlyArray<LineClient<Churned>>,
  { from, to }: Window = { from: -Infinity, to: Infinity },
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { rows } of clients)
    for (const row of rows.filter(({ at }) => at >= from && at < to))
      for (const [name, count] of Object.entries(row.opened))
        counts.set(name, (counts.get(name) ?? 0) + count);
  return counts;
}

/** The part of them that these replicas answered. */
export function shareOf(counts: ReadonlyMap<string, number>, replicas: readonly Pod[]): number {
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return replicas.reduce((sum, { name }) => sum + (counts.get(name) ?? 0), 0) / all;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
