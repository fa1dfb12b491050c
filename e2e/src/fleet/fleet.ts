/** An agent on every host of a lab, with certificates, and what they need to find each other. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ServalError, type ServalMigration } from '@serval/api';
import type { Lab, Pod } from '../lab/index.js';
import type { AgentProcess } from './agent-process.js';
import { issueCertificate, makeAuthority } from './certificates.js';
import { labAgent, signallingPort } from './lab-agent.js';
import { Sandboxes } from './sandboxes.js';

const run = promisify(execFile);
const hook = new URL('../../dist/fleet/sandbox-hook.js', import.meta.url).pathname;

export interface FleetOptions {
  /** slots of each agent's flow table; default 8192 */
  slots?: number;
  /** into every agent's configuration */
  config?: Record<string, unknown>;
  env?: NodeJS.ProcessEnv;
  /** each agent's state is on a small tmpfs of its own, which a test can fill */
  stateDisks?: boolean;
}

export class Fleet {
  readonly agents = new Map<string, AgentProcess>();
  /** a tmpfs that all pods see at the same path */
  imagesDir = '';
  /** `servald certs` made it: the authority, and a certificate for each host */
  readonly certificates: string;

  private constructor(
    readonly lab: Lab,
    private readonly home: string,
    readonly sandboxes: Sandboxes,
  ) {
    this.certificates = join(home, 'certificates');
  }

  /** @throws ServalError where an agent does not start; nothing of the fleet is left behind then */
  static async start(lab: Lab, options: FleetOptions = {}): Promise<Fleet> {
    const home = mkdtempSync(join(tmpdir(), `serval-fleet-${lab.id}-`));
    const fleet = new Fleet(lab, home, await Sandboxes.serve(lab, join(home, 'sandboxes.sock')));
    try {
      await fleet.make(options);
      await Promise.all([...fleet.agents.values()].map((agent) => agent.start()));
      return fleet;
    } catch (error) {
      await fleet.remove();
      throw error;
    }
  }

  agent(host: string): AgentProcess {
    const agent = this.agents.get(host);
    if (agent !== undefined) return agent;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `agent of ${host}`,
      reason: 'the lab has no such host',
      remedy: `Name one of ${[...this.agents.keys()].join(', ')}`,
    });
  }

  /** A pod whose flows may move, since it talks to a workload, or is one (`process`). */
  async declare(
    pod: Pod,
    name: string,
    more: { process?: { pid: number; cgroup: string }; trackUdp?: boolean } = {},
  ): Promise<void> {
    const { process, ...rest } = more;
    this.sandboxes.adopt(pod);
    await this.agent(pod.host.name).declarePod(name, {
      netns: pod.netns,
      interfaces: [pod.interface],
      addresses: [pod.address4, pod.address6],
      ...rest,
      ...(process === undefined
        ? {}
        : { process: { pausePid: pod.pausePid, ...process }, mover: 'criu' as const }),
    });
  }

  /** Moves a workload and waits for the end. Fails where it was rolled back. */
  async move(workload: string, from: string, to: string): Promise<ServalMigration> {
    const agent = this.agent(from);
    const { metadata } = await agent.migrate({ workload, targetNode: to });
    const migration = await agent.ended(metadata.name);
    const succeeded = migration.status?.conditions?.find(({ type }) => type === 'Succeeded');
    if (succeeded?.status === 'True') return migration;
    throw new ServalError('ERR_MOVER', {
      subject: `move of ${workload} from ${from} to ${to}`,
      reason: succeeded?.message ?? 'it failed without a word',
      remedy: `Read ${agent.log}`,
    });
  }

  /** Ends all agents and removes their files. What they pinned goes with the lab. Logs stay where SERVAL_KEEP_LOGS is set. */
  async remove(): Promise<void> {
    await Promise.allSettled([...this.agents.values()].map((agent) => agent.stop()));
    this.sandboxes.close();
    if (process.env['SERVAL_KEEP_LOGS'] === undefined) rmSync(this.home, { recursive: true, force: true });
  }

  private async make({ slots, config = {}, env = {}, stateDisks = false }: FleetOptions): Promise<void> {
    const { certificates } = this;
    await makeAuthority(certificates);
    const images = await this.lab.mount('tmpfs', 'images');
    this.imagesDir = images;
    for (const host of this.lab.hosts) {
      const command = (action: string): string[] => [
        process.execPath,
        hook,
        this.sandboxes.socket,
        action,
        host.name,
      ];
      const own = {
        ...(slots === undefined ? {} : { slots }),
        certificates: await issueCertificate(certificates, host.name),
        sandbox: { create: command('create'), remove: command('remove') },
      };
      const agent = await labAgent(this.lab, host, {
        home: this.home,
        config: { ...own, ...config },
        env,
        ...(stateDisks ? { state: await this.stateDisk(host.name) } : {}),
      });
      this.agents.set(host.name, agent);
    }
    for (const agent of this.agents.values()) this.introduce(agent);
  }

  private async stateDisk(host: string): Promise<string> {
    const path = await this.lab.mount('tmpfs', join('state', host));
    await run('mount', ['-o', 'remount,size=4m', path]);
    return path;
  }

  /** Everybody knows every node. */
  private introduce(agent: AgentProcess): void {
    for (const { name, site, address4, address6, podSubnet4, podSubnet6 } of this.lab.hosts)
      agent.declare(
        'ServalNode',
        { name },
        {
          address: `${address4}:${signallingPort}`,
          hostAddresses: [address4, address6],
          podCIDRs: [podSubnet4, podSubnet6],
          zone: site,
        },
      );
  }
}
