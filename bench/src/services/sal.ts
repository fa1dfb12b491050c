/** Through the SAL: an agent in directory mode on the client's node, which the client's pod is declared to. */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AgentProcess, issueCertificate, makeAuthority, type Pod } from '@serval/e2e';
import { defaultCriuPath, native } from '@serval/node-agent';
import { inside, run } from '../shell.js';
import { rounded } from '../statistics.js';
import { writeService, writeServices, zone } from './directory.js';
import { endpointRange, farHost, virtualTargets, type Plan } from './plan.js';
import { residentMb } from './resident.js';
import type { Memory, Variant } from './variant.js';
import { nameOf, type Place, type World } from './world.js';

const nodeName = 'client';
const signallingPort = 7443;
const metricsPort = 9464;
/** Of the flow table: nothing moves here. */
const slots = 8192;

export async function salVariant(world: World): Promise<Variant> {
  const place = await world.place('sal');
  const authority = join(world.workspace.folder, `certificates-${nameOf(place.node)}`);
  await makeAuthority(authority);
  const certificates = await issueCertificate(authority, nodeName);
  let current: RunningAgent | undefined;
  const clear = async (): Promise<void> => {
    const ended = current;
    current = undefined;
    await ended?.remove();
  };
  world.workspace.atEnd(clear);
  return {
    way: 'sal',
    by: 'an agent of its own in directory mode',
    place,
    targets: virtualTargets,
    prepare: async (plan) => {
      await clear();
      current = new RunningAgent(world, place, certificates, plan);
    },
    program: async () => {
      const began = performance.now();
      await current?.agent.start();
      return began;
    },
    change: (_before, after) => {
      const told = performance.now();
      if (current !== undefined) writeService(current.agent.directory, after, 0);
      return Promise.resolve(told);
    },
    memory: () => (current === undefined ? Promise.resolve({}) : current.memory()),
    processId: () => current?.agent.pid,
    clear,
  };
}

type Node = Pick<Pod, 'name' | 'spawn'>;

/** With a bpf file system, a state and resources of its own: the next one begins from nothing. */
class RunningAgent {
  readonly agent: AgentProcess<Node>;
  private static count = 0;
  private readonly home: string;
  private readonly bpffs: string;

  constructor({ workspace }: World, place: Place, certificates: object, plan: Plan) {
    this.home = join(workspace.folder, `agent-${RunningAgent.count++}`);
    this.bpffs = join(this.home, 'bpf');
    mkdirSync(this.bpffs, { recursive: true });
    native().mountBpffs(this.bpffs);
    const host: Node = {
      name: nodeName,
      spawn: (command, args = [], options = {}) => {
        const [program = '', ...rest] = inside(place.node, [command, ...args]);
        return spawn(program, rest, options);
      },
    };
    const folders = {
      home: this.home,
      state: join(this.home, 'state'),
      bpffs: this.bpffs,
      images: join(this.home, 'images'),
    };
    this.agent = new AgentProcess(host, folders, configuration(place, certificates), {});
    declare(this.agent, place);
    writeServices(this.agent.directory, plan);
  }

  /** What it has pinned goes with its file system; with that, the programs. */
  async remove(): Promise<void> {
    await this.agent.stop();
    native().unmountBpffs(this.bpffs);
    rmSync(this.home, { recursive: true, force: true });
  }

  async memory(): Promise<Memory> {
    const { pid } = this.agent;
    return { ...(pid === undefined ? {} : { processMb: residentMb(pid) }), mapsMb: await this.mapsMb() };
  }

  private async mapsMb(): Promise<number> {
    const maps = JSON.parse(await run(['bpftool', '-f', '-j', 'map', 'show'])) as Array<{
      bytes_memlock?: number;
      pinned?: string[];
    }>;
    const ours = maps.filter(({ pinned }) => pinned?.some((path) => path.startsWith(`${this.bpffs}/`)));
    return rounded(ours.reduce((sum, { bytes_memlock = 0 }) => sum + bytes_memlock, 0) / 1e6, 1);
  }
}

function configuration(place: Place, certificates: object): Record<string, unknown> {
  const logLevel = process.env['SERVAL_BENCH_LOG'];
  return {
    slots,
    criu: defaultCriuPath(),
    signalling: { address: place.nodeAddress, port: signallingPort },
    certificates,
    metrics: { address: '127.0.0.1', port: metricsPort },
    ...(logLevel === undefined ? {} : { logLevel }),
  };
}

/** Its node, the node of the replicas, and the client's pod. */
function declare(agent: AgentProcess<Node>, place: Place): void {
  const node = (name: string, address: string, podCIDR: string): void =>
    agent.declare(
      'ServalNode',
      { name },
      {
        address: `${address}:${signallingPort}`,
        hostAddresses: [address],
        podCIDRs: [podCIDR],
        zone,
      },
    );
  node(nodeName, place.nodeAddress, `${place.podAddress}/32`);
  // Whom the replicas' slices name: no agent answers there.
  node(farHost, place.farAddress, endpointRange);
  agent.declare(
    'ServalPod',
    { namespace: 'default', name: 'client' },
    { node: nodeName, netns: place.pod, interfaces: ['eth0'], addresses: [place.podAddress] },
  );
}
