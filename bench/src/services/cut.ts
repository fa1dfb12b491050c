/**
 * One of two hosts with replicas is cut off while clients of all ways connect at the same time: what is sent there is lost, and
 * nobody says so. Endpoints stay as they are all the while: the control plane has not heard of it yet, or can't.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Progress } from '../bench.js';
import { inside, run } from '../shell.js';
import { rounded } from '../statistics.js';
import type { Workspace } from '../workspace.js';
import { Connector } from './connector.js';
import { peerVariants } from './peers.js';
import { endpoints, farHost, hostOf, type Plan } from './plan.js';
import { salVariant } from './sal.js';
import type { Options } from './options.js';
import { ways, type Variant, type Way } from './variant.js';
import { compile, makePlace, nameOf, setUp, startServer, sysctl, up, type World } from './world.js';

/** What a client saw. */
export interface CutSeen {
  by: string;
  attempts: number;
  failed: number;
  /** connect() took longer than `slowMs` */
  over: number;
  medianMs: number;
  slowestMs: number;
}

export interface CutResult {
  ways: Partial<Record<Way, CutSeen>>;
  /** how long the host was cut off */
  cutMs: number;
  /** attempts per second and client */
  rate: number;
}

/** Every other replica is on the second. */
const hosts = [farHost, 'cut-off'] as const;
const plan: Plan = { services: 1, hosts };
const rate = 50;
const [beforeMs, cutMs, afterMs] = [2_000, 6_000, 2_000];
/** As long as a client waits that has no time to lose. */
const patienceMs = 3_000;
export const slowMs = 300;
const readyMs = 30_000;

export async function measureCut(
  workspace: Workspace,
  { variants: wanted, peers }: Options,
  progress: Progress,
): Promise<CutResult> {
  const world = await CutWorld.build(workspace);
  const variants = [
    ...(await peerVariants(world, wanted, peers, progress)),
    ...(wanted.includes('sal') ? [await salVariant(world)] : []),
  ];
  const clients: Array<{ variant: Variant; client: Connector }> = [];
  for (const variant of variants) {
    const client = await Connector.start(world, variant.place.pod, variant.targets(plan));
    await variant.prepare(plan);
    await Promise.all([variant.program(plan), client.everyTarget(1, readyMs)]);
    clients.push({ variant, client });
  }
  progress(
    `${clients.length} clients connect ${rate} times a second; after ${beforeMs} ms a host is cut off`,
  );
  const attempts = clients.map(({ client }) =>
    client.paced(rate, beforeMs + cutMs + afterMs, patienceMs, slowMs),
  );
  await delay(beforeMs);
  await world.cut();
  await delay(cutMs);
  await world.mend();
  const seen = await Promise.all(attempts);
  for (const { variant, client } of clients) await Promise.all([client.close(), variant.clear()]);
  const result: CutResult = { ways: {}, cutMs, rate };
  for (const way of ways) {
    const index = variants.findIndex((variant) => variant.way === way);
    const [variant, one] = [variants[index], seen[index]];
    if (variant === undefined || one === undefined) continue;
    const times = { medianMs: rounded(one.medianMs, 2), slowestMs: rounded(one.slowestMs, 1) };
    result.ways[way] = { by: variant.by, ...one, ...times };
  }
  return result;
}

/** A router with two hosts behind it, in place of the one far side. */
class CutWorld implements World {
  private places = 0;

  private constructor(
    readonly workspace: Workspace,
    readonly far: string,
    readonly program: string,
  ) {}

  static async build(workspace: Workspace): Promise<CutWorld> {
    const far = await workspace.netns('cut');
    await sysctl(far, { 'ipv4/ip_forward': '1' });
    const world = new CutWorld(workspace, far, await compile(workspace));
    for (const index of hosts.keys()) await world.addHost(index);
    return world;
  }

  place(label: string): ReturnType<World['place']> {
    return makePlace(this.workspace, this.far, `cut-${label}`, ++this.places);
  }

  /** Silence on both sides: a route that leads nowhere, and a cable without a plug. */
  async cut(): Promise<void> {
    await this.router([
      ...replicasOn(1).map((address) => `route replace blackhole ${address}`),
      'link set host1 down',
    ]);
  }

  async mend(): Promise<void> {
    const routes = replicasOn(1).map((address) => `route del blackhole ${address}`);
    await this.router([...routes, 'link set host1 up', ...routesTo(1)]);
  }

  private async addHost(index: number): Promise<void> {
    const netns = await this.workspace.netns(`cut-host${index}`);
    const cable = `link add host${index} netns ${nameOf(this.far)} type veth peer name eth0 netns ${nameOf(netns)}`;
    await run(['ip', '-batch', '-'], `${cable}\n`);
    await this.router([...up(`host${index}`, `10.82.${index}.1/24`), ...routesTo(index)]);
    await setUp(netns, [
      ...up('eth0', `10.82.${index}.2/24`),
      `route add default via 10.82.${index}.1`,
      ...replicasOn(index).map((address) => `route add local ${address} dev lo`),
    ]);
    await startServer(this.workspace, netns, this.program, []);
  }

  private async router(lines: readonly string[]): Promise<void> {
    await run(inside(this.far, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  }
}

function replicasOn(host: number): string[] {
  return endpoints(plan, 0).filter((_, replica) => hostOf(plan, replica) === hosts[host]);
}

function routesTo(host: number): string[] {
  return replicasOn(host).map((address) => `route replace ${address} via 10.82.${host}.2`);
}
