/**
 * Rules end with their flow. Where a workload has moved to, its own socket table says which flows are over; their peers
 * are told, and take their rules out as well. Idle flows are not over, and those of a peer that died end when the
 * workload notices. A connection in TIME_WAIT still answers, so it keeps its rule.
 */
import type { Logger } from '@serval/kube-runtime';
import type { Datapath } from '../datapath/types.js';
import { native } from '../native.js';
import { canonicalAddress } from '../datapath/address.js';
import type { Event } from '../protocol/effects.js';
import { endedRules, migrationId, peerFlowOf, type OwnFlow } from './plan.js';
import type { AgentPod, PodRegistry } from './pods.js';
import type { PortGuard } from './port-guard.js';
import type { ProtocolCore } from './protocol-core.js';
import { steadyNow } from './runner.js';
import { sessionIdleMs } from './source-work.js';

/** Everything but CLOSE and LISTEN. */
const livingStates = [1, 2, 3, 4, 5, 6, 8, 9, 11, 12].reduce((mask, state) => mask | (1 << state), 0);
const connected = 1 << 1;

/** How often socket tables are looked at. */
export const everyMs = 5_000;
/** A peer that has switched has still to say so, and everybody has packets to send. */
const calmMs = 2_000;
/**
 * While something moves here that is put off, so many times at most: with 100,000 flows a look takes a second, in which this
 * node answered nobody, with a workload standing still (a switch of 1.4 s beside 0.1 as a rule).
 */
export const mostPutOff = 12;

export interface SweepDeps {
  datapath: Datapath;
  pods: PodRegistry;
  ports: PortGuard;
  core: Pick<ProtocolCore, 'views' | 'isCalm'>;
  dispatch: (event: Event) => void;
  log: Logger;
}

export class Sweeper {
  private readonly timer: NodeJS.Timeout;
  private running: Promise<void> | undefined;
  private putOff = 0;

  constructor(private readonly deps: SweepDeps) {
    this.timer = setInterval(() => this.begin(), everyMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private begin(): void {
    if (!this.deps.core.isCalm(steadyNow(), calmMs) && this.putOff++ < mostPutOff) return;
    this.putOff = 0;
    this.running ??= this.sweep()
      .catch((error: unknown) => this.deps.log.warn({ err: error }, 'looking for ended flows failed'))
      .finally(() => (this.running = undefined));
  }

  /** One look at everything that has moved. */
  private async sweep(): Promise<void> {
    const { datapath, pods, ports, core, dispatch } = this.deps;
    const views = core.views();
    // The sockets of a workload that leaves end here, and live on elsewhere.
    const leaving = new Set(
      views
        .filter(({ role, phase }) => role === 'source' && phase !== 'retired' && phase !== 'aborted')
        .map(({ workload }) => workload),
    );
    const arrivals = views.filter(
      ({ role, phase, workload }) => role === 'target' && phase === 'done' && !leaving.has(workload),
    );
    const peerings = views.filter(({ role, phase }) => role === 'peer' && phase === 'switched');
    if (arrivals.length + peerings.length === 0) {
      for (const { netns } of pods.all()) ports.keepOnly(netns, new Set());
      return;
    }
    const busy = (await datapath.pods()).filter(({ flows }) => flows > 0).map(({ name }) => name);
    for (const { migration, workload } of arrivals) {
      const event = await this.arrival(migration, workload, busy.includes(workload));
      if (event !== undefined) dispatch(event);
    }
    const owners = new Set<string>();
    for (const name of busy) {
      const flows = await datapath.flows(name);
      for (const { migration } of flows) owners.add(migrationId(migration));
      const netns = pods.get(name)?.netns;
      if (netns !== undefined) ports.keepOnly(netns, new Set(flows.map(({ wire }) => wire.local.port)));
    }
    for (const { migration } of peerings)
      if (!owners.has(migration)) dispatch({ type: 'flowsEnded', migration, flows: [], last: true });
  }

  /** What has ended of the flows that came with a migration. */
  private async arrival(migration: string, workload: string, busy: boolean): Promise<Event | undefined> {
    const { datapath, pods } = this.deps;
    const pod = pods.get(workload);
    if (pod === undefined || !busy) return { type: 'flowsEnded', migration, flows: [], last: true };
    const own = BigInt(`0x${migration}`);
    const mine = await datapath.flows(workload, { migration: own });
    const over = endedRules(mine, await livingFlows(datapath, pod));
    if (over.length === 0 && mine.length > 0) return undefined;
    const flowIds = over.map(({ flowId }) => flowId);
    await datapath.remove(workload, { migration: own, flowIds });
    return { type: 'flowsEnded', migration, flows: over.map(peerFlowOf), last: over.length === mine.length };
  }
}

async function livingFlows(datapath: Datapath, pod: AgentPod): Promise<OwnFlow[]> {
  const [tcp, udp] = await Promise.all([
    native().listSockets(pod.netns, 'tcp', livingStates),
    native().listSockets(pod.netns, 'udp', connected),
  ]);
  const sockets = [...tcp, ...udp].map(
    ({ protocol, localAddress, localPort, remoteAddress, remotePort }): OwnFlow => ({
      protocol,
      tuple: {
        local: { address: canonicalAddress(localAddress), port: localPort },
        remote: { address: canonicalAddress(remoteAddress), port: remotePort },
      },
    }),
  );
  return pod.trackUdp ? [...sockets, ...(await datapath.sessions(pod.name, sessionIdleMs))] : sockets;
}
