/** The demo's world: a lab with three sites, a data plane on every host, a Redis and two pods full of clients. */
import { ServalError } from '@serval/api';
import { CriuMover, EbpfDatapath, placeInCgroup, type Datapath, type Workload } from '@serval/node-agent';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { LoadProcess } from './load/process.js';

export const redisPort = 6379;

/** A pod that holds the workload, or waits for it. */
export interface Seat {
  pod: Pod;
  cgroup: string;
}

export interface RunningWorkload extends Seat {
  workload: Workload;
}

export class World {
  readonly mover = new CriuMover();
  /** one a host, as one agent a host would have it */
  readonly datapaths = new Map<string, EbpfDatapath>();
  private readonly loads: LoadProcess[] = [];
  private seats = 0;

  private constructor(
    readonly lab: Lab,
    /** tmpfs: images are written and read in memory */
    readonly imagesDir: string,
  ) {}

  /** @throws ServalError where the machine lacks something; nothing is left behind then */
  static async build(): Promise<World> {
    const lab = await createLab({ sites: 3 });
    const world = new World(lab, await lab.mount('tmpfs', 'images'));
    try {
      for (const host of lab.hosts) {
        const bpffs = await lab.mount('bpf', `bpf-${host.name}`);
        world.datapaths.set(host.name, await EbpfDatapath.open({ bpffs, slots: 8192 }));
      }
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  datapathOf(pod: Pod): Datapath {
    return this.datapaths.get(pod.host.name) as Datapath;
  }

  /** A new pod on a host, with an empty cgroup for a workload. */
  async seat(host: string): Promise<Seat> {
    const name = `redis-${++this.seats}`;
    const pod = await this.lab.createPod({ name, host });
    return { pod, cgroup: this.lab.cgroup(name) };
  }

  /** Debian's redis-server in a pod; resolves when it answers. */
  async startRedis(seat: Seat): Promise<RunningWorkload> {
    const quiet = ['--save', '', '--appendonly', 'no', '--protected-mode', 'no', '--maxclients', '1000'];
    const listen = ['--port', String(redisPort), '--bind', '0.0.0.0', '::'];
    const child = seat.pod.spawn('redis-server', [...listen, ...quiet], { dumpable: true, stdio: 'ignore' });
    const { pid } = await seat.pod.processOf(child);
    placeInCgroup(seat.cgroup, pid);
    await answering(seat.pod);
    const workload = { name: `demo/${seat.pod.name}`, pausePid: seat.pod.pausePid, pid, cgroup: seat.cgroup };
    return { ...seat, workload };
  }

  /** A client pod with a load process in it, connected and working. */
  async startClients(name: string, host: string, server: string, connections: number): Promise<LoadProcess> {
    const pod = await this.lab.createPod({ name, host });
    const prefix = ['nsenter', `--net=${pod.netns}`];
    const load = LoadProcess.start({ label: name, prefix });
    this.loads.push(load);
    await load.connect({ host: server, port: redisPort, name, connections });
    await load.start();
    return load;
  }

  async stopClients(): Promise<void> {
    await Promise.all(this.loads.splice(0).map((load) => load.stop()));
    for (const pod of this.lab.pods.filter(({ name }) => name.startsWith('client')))
      await this.removePod(pod);
  }

  /** End a seat's workload, if any, and its pod. */
  async vacate(seat: Seat): Promise<void> {
    await this.mover.discard({ name: seat.pod.name, pausePid: seat.pod.pausePid, cgroup: seat.cgroup });
    await this.removePod(seat.pod);
  }

  /** The network goes first: what a dying workload's kernel has to say must not leave. */
  private async removePod(pod: Pod): Promise<void> {
    const datapath = this.datapathOf(pod);
    await pod.remove();
    await datapath.removePod(`demo/${pod.name}`);
  }

  /** Everything that the demo made. May be called at any point. */
  async remove(): Promise<void> {
    await Promise.allSettled(this.loads.splice(0).map((load) => load.stop(1000)));
    for (const datapath of this.datapaths.values()) await datapath.uninstall();
    this.datapaths.clear();
    this.lab.remove();
  }
}

async function answering(pod: Pod): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const answer = await pod.run('redis-cli', ['-p', String(redisPort), 'ping']).catch(() => '');
    if (answer.trim() === 'PONG') return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `redis-server in pod ${pod.name}`,
    reason: 'it does not answer on its port after 5 s',
    remedy: 'See whether `redis-server` starts by hand (Debian package redis-server)',
  });
}
