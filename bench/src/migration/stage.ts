/** The world of the migration bench: two hosts between which a workload moves, two with its clients, an agent on each. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { createLab, Fleet, type Lab, type Pod } from '@serval/e2e';
import { placeInCgroup } from '@serval/node-agent';
import { paused } from './pause.js';
import { moveTimes, type MoveTimes } from './move-times.js';
import { Watched } from './watched.js';

/** The workload moves between these. */
export const workloadHosts = ['s1-h1', 's2-h1'] as const;
export const clientHosts = ['s3-h1', 's4-h1'] as const;
const workload = 'bench/workload';
/** Where Debian has it: a shim of somebody's would be another program to CRIU. */
export const python = '/usr/bin/python3';
const patienceMs = 20_000;

export class Stage {
  /** the workload's address when its clients came: they go on using it */
  address = '';
  /** where it is now */
  location = '';
  private at = 0;
  private readonly undo: Array<() => Promise<void> | void> = [];

  private constructor(
    readonly lab: Lab,
    readonly fleet: Fleet,
  ) {}

  /** @param slots of each agent's flow table */
  static async build(slots: number): Promise<Stage> {
    const lab = await createLab({ sites: workloadHosts.length + clientHosts.length });
    try {
      const logLevel = process.env['SERVAL_BENCH_LOG'];
      const config = logLevel === undefined ? {} : { logLevel };
      return new Stage(lab, await Fleet.start(lab, { slots, config }));
    } catch (error) {
      lab.remove();
      throw error;
    }
  }

  /** Starts what is to be moved; resolves when it listens and its agent knows it. */
  async startWorkload(command: readonly [string, ...string[]], port: number): Promise<void> {
    const [program, ...args] = command;
    const pod = await this.lab.createPod({ name: 'workload', host: workloadHosts[0] });
    const child = pod.spawn(program, args, { dumpable: true, stdio: 'ignore' });
    const { pid } = await pod.processOf(child);
    const cgroup = this.lab.cgroup('workload');
    placeInCgroup(cgroup, pid);
    await listening(pod, port, command, child);
    await this.fleet.declare(pod, workload, { process: { pid, cgroup } });
    this.address = this.location = pod.address4;
  }

  async clientPod(host: string): Promise<Pod> {
    const name = `client-${host}`;
    const pod = await this.lab.createPod({ name, host });
    await this.fleet.declare(pod, `bench/${name}`);
    return pod;
  }

  /** A program in a pod whose lines are read; it ends with the stage. */
  watch(pod: Pod, command: readonly [string, ...string[]]): Watched {
    const [program, ...args] = command;
    const watched = new Watched(pod.spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] }), command);
    this.atEnd(() => watched.kill());
    return watched;
  }

  /** To the other host. @throws ServalError where it was rolled back: the workload goes on where it was */
  async move(): Promise<MoveTimes> {
    const [from, to] = [workloadHosts[this.at], workloadHosts[1 - this.at]] as [string, string];
    const migration = await this.fleet.move(workload, from, to);
    this.at = 1 - this.at;
    const pods = await this.fleet.agent(to).pods();
    this.location = pods.find(({ name }) => name === workload)?.addresses[0] ?? '';
    return moveTimes(migration);
  }

  /** Stands still for so long where it is, and nothing else: what its clients see then is no migration's doing. */
  pause(ms: number): Promise<MoveTimes> {
    return paused(this.lab.id, ms);
  }

  /** To be done when everything is taken away. */
  atEnd(work: () => Promise<void> | void): void {
    this.undo.push(work);
  }

  /** Takes everything away. May be called at any point. */
  async remove(): Promise<void> {
    await Promise.allSettled(this.undo.splice(0).map(async (work) => work()));
    await this.fleet.remove();
    this.lab.remove();
  }
}

/** The stage is taken away however the work ends; of two failures the work's own is told. */
export async function withStage<Result>(stage: Stage, work: () => Promise<Result>): Promise<Result> {
  let result: Result;
  try {
    result = await work();
  } catch (error) {
    await stage.remove().catch(() => undefined);
    throw error;
  }
  await stage.remove();
  return result;
}

/** Whether a socket of this pod listens on the port (state 0A). */
async function listening(
  pod: Pod,
  port: number,
  command: readonly string[],
  child: ChildProcess,
): Promise<void> {
  const row = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F]+:0000 0A `);
  const deadline = performance.now() + patienceMs;
  while (child.exitCode === null && performance.now() < deadline) {
    if (['tcp', 'tcp6'].some((file) => row.test(readFileSync(`/proc/${pod.pausePid}/net/${file}`, 'utf8'))))
      return;
    await delay(10);
  }
  throw new ServalError('ERR_NOT_FOUND', {
    subject: command.join(' '),
    reason: `it does not listen on port ${port}`,
    remedy: 'Start it by hand; `npm run bootstrap -- --for bench` installs what is missing',
  });
}
