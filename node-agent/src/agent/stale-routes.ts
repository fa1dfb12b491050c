/**
 * Sockets that stay on this node go on naming an address that its workload has left. Their packets must come as far as the
 * SAL, also where the address was on a segment of this node's own: pods get a route by their gateway, the host itself a
 * detour, for as long as nobody here has the address. There is time for it: as long as the source's pod exists, its
 * hardware address is known.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { detour, endDetour } from '../host/detour.js';
import type { GatewayRoutes } from '../host/gateway-routes.js';
import { OneAtATime } from './one-at-a-time.js';
import type { AgentPod, PodRegistry } from './pods.js';

/** Starting a program takes the agent 1 to 2 ms and a processor 4: not while a workload's clients catch up. */
const afterSwitchMs = 30;

export class StaleRoutes {
  private readonly turns = new OneAtATime();
  /** by address: the namespaces of hosts that have a detour around it */
  private readonly detours = new Map<string, Set<string>>();

  constructor(
    private readonly routes: GatewayRoutes,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Whoever gets an address on this node is reached as anybody is. */
  follow(pods: PodRegistry): void {
    pods.onPut(({ addresses }) => {
      for (const address of addresses) this.inTurn(() => this.taken(address));
    });
  }

  /** The far ends of this pod's flows have left: by address, where they are now. */
  left(pod: AgentPod, moves: ReadonlyMap<string, string>): void {
    this.inTurn(async () => {
      await delay(afterSwitchMs);
      if (!pod.hostNetwork) await this.routes.leadByGateway(pod.netns, [...moves.keys()]);
      else for (const [old, next] of moves) await this.lead(pod.netns, old, next);
    });
  }

  private async lead(netns: string, old: string, next: string): Promise<void> {
    if (old === next || !(await detour(netns, old, next))) return;
    const around = this.detours.get(old) ?? new Set();
    this.detours.set(old, around.add(netns));
  }

  private async taken(address: string): Promise<void> {
    const around = this.detours.get(address);
    this.detours.delete(address);
    for (const netns of around ?? []) await endDetour(netns, address);
  }

  private inTurn(work: () => Promise<void>): void {
    this.turns.run('routes', work).catch(this.onError);
  }
}
