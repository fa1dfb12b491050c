/**
 * Ports that a pod's kernel may not choose for new connections. It knows a moved flow by its identity and does not see where
 * that is on the wire: a new connection to the workload's new address, from the port that a moved flow has, would be that
 * flow on the wire. Its opening segment came to the moved socket then, and was never answered (seen with 5,000 moved flows
 * of one pod: one new connection in six hung). Whoever binds a port by himself is not hindered.
 */
import { readReservedPorts, writeReservedPorts } from '../host/reserved-ports.js';
import { OneAtATime } from './one-at-a-time.js';

/** Whoever looks which ports are in use may have looked just before a rule came. */
const youngMs = 60_000;

export class PortGuard {
  private readonly turns = new OneAtATime();
  /** by namespace: ports that we have reserved there, and when (performance.now) */
  private readonly ours = new Map<string, Map<number, number>>();

  constructor(private readonly onError: (error: unknown) => void) {}

  /** In addition to what is reserved already. Nobody waits for it. */
  reserve(netns: string, ports: Iterable<number>): void {
    this.inTurn(netns, async () => {
      const ours = this.ours.get(netns) ?? new Map<number, number>();
      const news = [...new Set(ports)].filter((port) => !ours.has(port));
      if (news.length === 0) return;
      const there = await readReservedPorts(netns);
      await writeReservedPorts(netns, [...there, ...news]);
      for (const port of news) if (!there.has(port)) ours.set(port, performance.now());
      this.ours.set(netns, ours);
    });
  }

  /** Of those that we have reserved these alone are needed any longer. */
  keepOnly(netns: string, ports: ReadonlySet<number>): void {
    const isOver = ([port, since]: [number, number]): boolean =>
      !ports.has(port) && performance.now() - since > youngMs;
    if (![...(this.ours.get(netns) ?? [])].some(isOver)) return;
    this.inTurn(netns, async () => {
      const ours = this.ours.get(netns);
      const over = [...(ours ?? [])].filter(isOver).map(([port]) => port);
      const there = await readReservedPorts(netns);
      over.forEach((port) => there.delete(port));
      await writeReservedPorts(netns, there);
      over.forEach((port) => ours?.delete(port));
    });
  }

  /** The namespace is gone; its path may be another one's later. */
  forget(netns: string): void {
    this.ours.delete(netns);
  }

  private inTurn(netns: string, work: () => Promise<void>): void {
    this.turns.run(netns, work).catch((error: unknown) => {
      // A pod that has ended has no ports.
      if ((error as { code?: string }).code !== 'ENOENT') this.onError(error);
    });
  }
}
