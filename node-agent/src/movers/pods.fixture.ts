/**
 * For the kernel tests of the movers: pods as the lab has them (network, PID and mount namespace, held by a pause
 * process) on a bridge in a network namespace of their own, so that nothing of the host is touched.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupProcesses, createCgroup, killCgroup, removeCgroup } from './cgroup.js';
import { enterPod, run } from './criu-process.js';
import type { CriuMover, Workload } from './criu.js';

/** A pod of the tests, which is at once the target of a restore. */
export interface TestPod {
  name: string;
  pausePid: number;
  cgroup: string;
}

/** A program in a namespace that is spoken to line by line. */
export class Talker {
  readonly #child: ChildProcess;
  readonly #said: string[] = [];
  readonly #news = new EventEmitter();

  constructor(command: readonly string[]) {
    this.#child = spawn(command[0] ?? '', command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.#said.push(line);
      this.#news.emit('line');
    });
  }

  /** The next line that it says, or has said already. */
  async hear(timeoutMs = 20_000): Promise<string> {
    const signal = AbortSignal.timeout(timeoutMs);
    while (this.#said.length === 0) await once(this.#news, 'line', { signal });
    return this.#said.shift() ?? '';
  }

  async ask(line: string, timeoutMs?: number): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    return this.hear(timeoutMs);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** Runs a command that must succeed. */
export async function must(command: string, ...args: string[]): Promise<string> {
  const result = await run(command, args);
  if (result.code !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.stderr || result.stdout}`);
  return result.stdout;
}

/** A bridge and the pods on it. Everything ends with `close`. */
export class TestFabric {
  readonly #holders: ChildProcess[] = [];
  readonly #pods: TestPod[] = [];
  readonly #talkers: Talker[] = [];
  netns = '';

  static async create(): Promise<TestFabric> {
    const fabric = new TestFabric();
    const pid = await fabric.#hold(['unshare', '--net', 'sleep', 'infinity'], false);
    fabric.netns = `--net=/proc/${pid}/ns/net`;
    await must('nsenter', fabric.netns, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
    await must('nsenter', fabric.netns, 'ip', 'link', 'set', 'br0', 'up');
    return fabric;
  }

  /** A pod with an address on its eth0; not on the bridge yet. */
  async pod(name: string, address: string): Promise<TestPod> {
    // SIGCHLD ignored: the kernel then reaps what is orphaned to PID 1. A zombie would keep its PID from a restore.
    const pause = ['env', '--ignore-signal=CHLD', 'sleep', 'infinity'];
    const unshare = [
      'unshare',
      '--net',
      '--pid',
      '--mount',
      '--fork',
      '--kill-child',
      '--mount-proc',
      ...pause,
    ];
    const pod = {
      name,
      pausePid: await this.#hold(unshare, true),
      cgroup: createCgroup(`serval-${process.pid}-${name}`),
    };
    this.#pods.push(pod);
    const peer = ['peer', 'name', 'eth0', 'netns', String(pod.pausePid)];
    await must('nsenter', this.netns, 'ip', 'link', 'add', 'name', name, 'type', 'veth', ...peer);
    await must('nsenter', this.netns, 'ip', 'link', 'set', 'dev', name, 'up');
    for (const command of [
      'link set lo up',
      `addr add ${address}${address.includes(':') ? '/64 nodad' : '/24'} dev eth0`,
      'link set eth0 up',
    ]) {
      await must('nsenter', `--net=/proc/${pod.pausePid}/ns/net`, 'ip', ...command.split(' '));
    }
    return pod;
  }

  /** On the bridge: packets flow. */
  async attach(pod: TestPod): Promise<void> {
    await must('nsenter', this.netns, 'ip', 'link', 'set', 'dev', pod.name, 'master', 'br0');
  }

  /** Off the bridge: what is sent either way is lost without a word, as the SAL's hold has it. */
  async detach(pod: TestPod): Promise<void> {
    await must('nsenter', this.netns, 'ip', 'link', 'set', 'dev', pod.name, 'nomaster');
  }

  /** Freezes, lets what is on its way arrive, and cuts the pod off: the order that leaves nothing unacknowledged. */
  async freezeAndHold(mover: CriuMover, workload: Workload, pod: TestPod): Promise<void> {
    await mover.freeze(workload);
    await this.detach(pod);
  }

  /** Starts a program in the pod and its cgroup, without any foreign descriptor; returns its number on this host. */
  async start(pod: TestPod, command: string): Promise<number> {
    const inside = `exec setsid -f ${command} </dev/null >/dev/null 2>&1`;
    const enter = ['nsenter', ...enterPod(pod.pausePid), '/bin/sh', '-c', inside];
    await must(
      '/bin/sh',
      '-c',
      'echo $$ >"$1/cgroup.procs" && shift && exec "$@"',
      'test',
      pod.cgroup,
      ...enter,
    );
    const pid = cgroupProcesses(pod.cgroup)[0];
    if (pid === undefined) throw new Error(`${command} has ended`);
    return pid;
  }

  /** Runs a Python script with the pod's network. */
  python(pod: TestPod, script: string, ...args: string[]): Talker {
    const talker = new Talker([
      'nsenter',
      `--net=/proc/${pod.pausePid}/ns/net`,
      'python3',
      '-uc',
      script,
      ...args,
    ]);
    this.#talkers.push(talker);
    return talker;
  }

  /** Ends everything that the fabric started; a second call finds nothing to do. */
  async close(): Promise<void> {
    for (const talker of this.#talkers) await talker.end();
    for (const pod of this.#pods) await killCgroup(pod.cgroup, 5000);
    for (const holder of this.#holders.reverse()) {
      holder.kill('SIGKILL');
      if (holder.exitCode === null && holder.signalCode === null) await once(holder, 'exit');
    }
    for (const pod of this.#pods) await removeCgroup(pod.cgroup);
  }

  /** Starts a process that holds namespaces and waits until it does; returns the one that is inside. */
  async #hold(command: readonly string[], forks: boolean): Promise<number> {
    const child = spawn(command[0] ?? '', command.slice(1), { stdio: 'ignore' });
    this.#holders.push(child);
    const pid = child.pid ?? 0;
    for (let turn = 0; turn < 400; turn++, await sleep(5)) {
      const inside = forks ? Number(read(`/proc/${pid}/task/${pid}/children`)) : pid;
      if (inside > 0 && read(`/proc/${inside}/comm`) === 'sleep\n') return inside;
    }
    throw new Error(`${command.join(' ')}: does not come up (root is needed)`);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
