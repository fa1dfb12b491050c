/** The demo's world: a lab with three sites, an agent on every host, a Redis and two pods full of clients. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError, type ServalMigration } from '@serval/api';
import { CriuMover, placeInCgroup, transfer, type Workload } from '@serval/node-agent';
import { Fleet } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { LoadProcess } from './load/process.js';

export const redisPort = 6379;
export const workloadName = 'demo/redis';

/** A pod that holds the workload, or waits for it. */
export interface Seat {
  pod: Pod;
  cgroup: string;
}

export interface RunningWorkload extends Seat {
  workload: Workload;
}

export class World {
  private readonly mover = new CriuMover();
  private readonly loads: LoadProcess[] = [];
  private seats = 0;

  private constructor(
    readonly lab: Lab,
    readonly fleet: Fleet,
  ) {}

  /** @throws ServalError where the machine lacks something; nothing is left behind then */
  static async build(): Promise<World> {
    const lab = await createLab({ sites: 3 });
    try {
      return new World(lab, await Fleet.start(lab));
    } catch (error) {
      lab.remove();
      throw error;
    }
  }

  /** A new pod on a host, with an empty cgroup for a workload. */
  async seat(host: string): Promise<Seat> {
    const name = `redis-${++this.seats}`;
    const pod = await this.lab.createPod({ name, host });
    return { pod, cgroup: this.lab.cgroup(name) };
  }

  /** Debian's redis-server in a pod; resolves when it answers. */
  async startRedis(seat: Seat): Promise<RunningWorkload> {
    const quiet = ['--save', '', '--appendonly', 'no', '--protected-mode', 'no', '--maxclients', '20000'];
    const listen = ['--port', String(redisPort), '--bind', '0.0.0.0', '::'];
    const child = seat.pod.spawn('redis-server', [...listen, ...quiet], { dumpable: true, stdio: 'ignore' });
    const { pid } = await seat.pod.processOf(child);
    placeInCgroup(seat.cgroup, pid);
    await answering(seat.pod);
    const workload = { name: workloadName, pausePid: seat.pod.pausePid, pid, cgroup: seat.cgroup };
    return { ...seat, workload };
  }

  /** From now on agents know the workload, and may move it. */
  async declare({ pod, workload: { pid }, cgroup }: RunningWorkload): Promise<void> {
    await this.fleet.declare(pod, workloadName, { process: { pid, cgroup } });
  }

  /** A client pod with a load process in it, connected and working. */
  async startClients(name: string, host: string, server: string, connections: number): Promise<LoadProcess> {
    const pod = await this.lab.createPod({ name, host });
    await this.fleet.declare(pod, `demo/${name}`);
    const prefix = ['nsenter', `--net=${pod.netns}`];
    const load = LoadProcess.start({ label: name, prefix });
    this.loads.push(load);
    await load.connect({ host: server, port: redisPort, name, connections });
    await load.start();
    return load;
  }

  async stopClients(): Promise<void> {
    await Promise.all(this.loads.splice(0).map((load) => load.stop()));
    for (const pod of this.lab.pods.filter(({ name }) => name.startsWith('client'))) {
      this.fleet.agent(pod.host.name).undeclare('ServalPod', { namespace: 'demo', name: pod.name });
      await pod.remove();
    }
  }

  /** What everybody can have today: CRIU moves the process, its connections do not come along. */
  async moveWithoutServal(
    source: RunningWorkload,
    host: string,
  ): Promise<RunningWorkload & { freezeMs: number }> {
    const target = await this.seat(host);
    const images = this.fleet.imagesDir;
    const [dumped, carried] = [join(images, 'baseline-source'), join(images, 'baseline-target')];
    for (const dir of [dumped, carried]) mkdirSync(dir);
    const start = performance.now();
    await this.mover.dump(source.workload, dumped);
    await transfer(dumped, carried);
    const place = { name: workloadName, pausePid: target.pod.pausePid, cgroup: target.cgroup };
    const { pid } = await this.mover.restore(place, carried, { connections: 'close' });
    this.mover.resume(place);
    const freezeMs = performance.now() - start;
    await this.vacate(source);
    return { ...target, workload: { ...place, pid }, freezeMs };
  }

  /** By the agents: the source's is asked, and waited for. @throws ServalError where it was rolled back */
  migrate(from: string, to: string): Promise<ServalMigration> {
    return this.fleet.move(workloadName, from, to);
  }

  /**
   * Moves something small there and back. Agents that have never moved anything run code that the engine has not compiled
   * yet: their first switch takes 10 to 25 ms longer, which is not what the demo is about.
   */
  async rehearse(): Promise<void> {
    const name = 'demo/rehearsal';
    const { pod, workload, cgroup } = await this.startRedis(await this.seat('s1-h1'));
    await this.fleet.declare(pod, name, { process: { pid: workload.pid, cgroup } });
    for (const host of ['s2-h1', 's3-h1']) await this.startClients(`client-${host}`, host, pod.address4, 20);
    await this.fleet.move(name, 's1-h1', 's2-h1');
    await this.fleet.move(name, 's2-h1', 's1-h1');
    await this.stopClients();
    this.fleet.agent('s1-h1').undeclare('ServalPod', { namespace: 'demo', name: 'rehearsal' });
    for (const moved of this.lab.pods.filter((each) => each.name.startsWith('moved'))) await moved.remove();
  }

  /** Ends all that runs in the lab's pods, and makes the agents forget it: for another scene in the same lab. */
  async clear(): Promise<void> {
    await Promise.all(this.loads.splice(0).map((load) => load.stop()));
    for (const agent of this.fleet.agents.values()) await agent.undeclareAll('ServalPod');
    await Promise.all(this.lab.pods.map((pod) => pod.remove()));
  }

  /** End a seat's workload, if any, and its pod. */
  async vacate(seat: Seat): Promise<void> {
    await this.mover.discard({ name: seat.pod.name, pausePid: seat.pod.pausePid, cgroup: seat.cgroup });
    await seat.pod.remove();
  }

  /** Everything that the demo made. May be called at any point. */
  async remove(): Promise<void> {
    await Promise.allSettled(this.loads.splice(0).map((load) => load.stop(1000)));
    await this.fleet.remove();
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
