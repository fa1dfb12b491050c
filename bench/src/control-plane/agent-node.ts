/** A node with an agent as it is: on a host of a lab, in Kubernetes mode, with its service table in the kernel. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServalService } from '@serval/api';
import {
  ApiRoad,
  createLab,
  issueCertificate,
  labAgent,
  makeAuthority,
  type AgentProcess,
  type Lab,
} from '@serval/e2e';
import { KernelTable } from './kernel-table.js';
import { serviceName } from './objects.js';
import { servalServices, type World } from './world.js';

const [startMs, patienceMs] = [60_000, 30_000];
const lookMs = 1;
const port = 80;

export class AgentNode {
  private readonly virtualIPs = new Map<number, string>();

  private constructor(
    private readonly world: World,
    private readonly lab: Lab,
    private readonly road: ApiRoad,
    private readonly agent: AgentProcess,
    private readonly table: KernelTable,
  ) {}

  /** Resolves when it is ready. */
  static async start(world: World): Promise<AgentNode> {
    const lab = await createLab({ sites: 1 });
    const home = join(world.plane.folder, 'agent');
    mkdirSync(home);
    const road = await ApiRoad.build(lab, world.plane.admin().server, join(home, 'api.sock'));
    let agent: AgentProcess | undefined;
    try {
      const [host] = lab.hosts;
      if (host === undefined) throw new Error('the lab has no host');
      await world.makeNode(host.name, [host.podSubnet4, host.podSubnet6], host.address4);
      const authority = join(home, 'certificates');
      await makeAuthority(authority);
      const config = {
        kubernetes: { kubeconfig: world.kubeconfig },
        certificates: await issueCertificate(authority, host.name),
        logLevel: 'warn',
      };
      agent = await labAgent(lab, host, { home, config });
      await agent.start(startMs);
      return new AgentNode(world, lab, road, agent, new KernelTable(agent.folders.bpffs));
    } catch (error) {
      await agent?.stop();
      await road.remove();
      lab.remove();
      throw error;
    }
  }

  get pid(): number {
    return this.agent.pid ?? 0;
  }

  /** Resolves when connections to the service may get this address, or may not any more: with when that was, ms. */
  async leadsTo(service: number, address: string, isThere: boolean): Promise<number> {
    const virtualIP = await this.virtualIP(service);
    const until = performance.now() + patienceMs;
    while (this.table.chosen(virtualIP, port).has(address) !== isThere) {
      if (performance.now() > until)
        throw new Error(
          `${address} of ${serviceName(service)} is not ${isThere ? 'in' : 'out'}: ${this.agent.lastWords()}`,
        );
      await delay(lookMs);
    }
    return performance.now();
  }

  async end(): Promise<void> {
    this.table.close();
    await this.agent.stop();
    await this.road.remove();
    this.lab.remove();
  }

  /** IPv4; asked for once. */
  async virtualIP(service: number): Promise<string> {
    const known = this.virtualIPs.get(service);
    if (known !== undefined) return known;
    const { status } = await this.world.client.request<ServalService>({
      path: `${servalServices}/${serviceName(service)}`,
    });
    const [first = ''] = status?.virtualIPs ?? [];
    this.virtualIPs.set(service, first);
    return first;
  }
}
