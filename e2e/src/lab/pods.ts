import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { ServalError } from '@serval/api';
import type { HostPlan, PodAddresses } from './address-plan.js';
import type { Host } from './hosts.js';
import {
  batchError,
  batchScript,
  enterArguments,
  existingNamespaces,
  ipBatch,
  processesIn,
} from './namespaces.js';
import { NetworkNode } from './network-node.js';
import {
  childOf,
  identify,
  isAlive,
  killProcess,
  run,
  signalProcess,
  tool,
  type ProcessIdentity,
} from './processes.js';
import type { PodState } from './state.js';
import { defaultRoutes, mtu, quietScript } from './topology.js';

const patience = 5000;

/** Shell words that close what a careless ancestor left open: a pod's process must not hold on to it. */
const closeDescriptors =
  'for path in /proc/self/fd/*; do number=${path##*/}; if ((number > 2)); then eval "exec $number>&-"; fi; done';

/**
 * Shell words that open files given as standard input, output and error anew, by their paths: what was opened outside
 * belongs to a mount that the pod does not have, and CRIU refuses it ("Can't lookup mount").
 */
const reopenStdio = [0, 1, 2]
  .map((number) => `path=$(readlink /proc/$$/fd/${number}); [[ -e $path ]] && exec ${number}<>"$path"`)
  .join('; ');

const asPodsOwn = `${closeDescriptors}; ${reopenStdio}; exec "$@"`;

export interface PodSpawnOptions extends SpawnOptions {
  /**
   * start it as CRIU wants it: leading a session of its own, without descriptors from outside. Its stdio must be
   * 'ignore' or files (which are written to from their beginning).
   */
  dumpable?: boolean;
}

/** A process of a pod, by both its numbers. */
export interface PodProcess {
  /** as the machine sees it */
  pid: number;
  /** as the pod sees it */
  podPid: number;
}

/** A pod: network, PID and mount namespace of its own, held by a pause process that is PID 1 in there. */
export class Pod extends NetworkNode {
  readonly interface = 'eth0';
  /** by child: the command lines of what becomes the program in the end */
  readonly #wrappers = new WeakMap<ChildProcess, ReadonlySet<string>>();

  constructor(
    readonly host: Host,
    readonly addresses: PodAddresses,
    state: PodState,
    netns: string,
    /** PID 1 of the pod, as the machine sees it */
    readonly pausePid: number,
    private readonly removeFromLab: () => Promise<void>,
  ) {
    super(state.name, state.namespace, netns);
  }

  get address4(): string {
    return this.addresses.address4;
  }

  get address6(): string {
    return this.addresses.address6;
  }

  /**
   * Starts a program in the pod. Its working directory is `/` unless `cwd` is given. The result stands for the
   * program: `kill` reaches it and its ending is reported; but `pid` is that of the nsenter that waits for it
   * (`processOf` tells the program's own).
   */
  override spawn(command: string, args: readonly string[] = [], options: PodSpawnOptions = {}): ChildProcess {
    const { dumpable = false, cwd, ...rest } = options;
    const words = [
      ...(dumpable ? [tool('setsid'), tool('bash'), '-c', asPodsOwn, 'bash'] : []),
      ...(cwd === undefined ? [] : [tool('env'), `--chdir=${String(cwd)}`]),
      command,
      ...args,
    ];
    const enter = [tool('nsenter'), ...enterArguments(this.netns, this.pausePid), '--', ...words];
    const child = spawn(tool('nsenter'), enter.slice(1), rest);
    const wrappers = words.slice(0, -1 - args.length).map((_, index) => words.slice(index));
    this.#wrappers.set(child, new Set([enter, ...wrappers].map(commandLine)));
    const killNsenter = child.kill.bind(child);
    child.kill = (signal) => {
      const inner = hasEnded(child) ? undefined : childOf(child.pid ?? 0);
      if (signal === 'SIGCONT') killNsenter(signal); // it stops when the program stops
      return inner === undefined ? killNsenter(signal) : signalProcess(inner, signal ?? 'SIGTERM');
    };
    return child;
  }

  /**
   * The pids of the program that `spawn` started, as soon as it runs.
   * @throws ServalError ERR_NOT_FOUND when it has ended
   */
  async processOf(child: ChildProcess): Promise<PodProcess> {
    const deadline = performance.now() + patience;
    while (!hasEnded(child) && performance.now() < deadline) {
      const pid = childOf(child.pid ?? 0);
      const line = pid === undefined ? '' : commandLineOf(pid);
      if (pid !== undefined && line !== '' && this.#wrappers.get(child)?.has(line) !== true) {
        return { pid, podPid: podPidOf(pid) };
      }
      await delay(2);
    }
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `process in pod ${this.name}`,
      reason: 'it has ended, or was not started by spawn of this pod',
      remedy: 'Ask while it runs',
    });
  }

  /** Ends the pod's processes (their last packets still leave), then takes its network away. May be repeated. */
  async remove(): Promise<void> {
    await this.removeFromLab();
  }
}

/** As in /proc/PID/cmdline. */
function commandLine(words: readonly string[]): string {
  return words.map((word) => `${word}\0`).join('');
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it ended
  }
}

/** Whether a child has ended, or never began. */
function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Name of the host's end of a pod's veth: Linux allows 15 characters, pods may have longer names. */
export function hostInterfaceOf(pod: string): string {
  return `veth${createHash('sha256').update(pod).digest('hex').slice(0, 8)}`;
}

/** Makes a pod's namespace and its link to the host's bridge. */
export async function connectPod(host: Host, pod: PodState, addresses: PodAddresses): Promise<void> {
  const { hostInterface, namespace } = pod;
  const lines = [
    `netns add ${namespace}`,
    `link add name ${hostInterface} mtu ${mtu} master cni0 type veth ` +
      `peer name eth0 address ${addresses.mac} mtu ${mtu} netns ${namespace}`,
    `link set ${hostInterface} up`,
  ];
  await ipBatch(lines, host.netns);
}

/** Gives a connected pod its addresses and starts its pause process; returns that. */
export async function startPod(
  plan: HostPlan,
  netns: string,
  addresses: PodAddresses,
): Promise<ProcessIdentity> {
  const lines = [
    'link set lo up',
    `address add ${addresses.address4}/24 dev eth0`,
    `address add ${addresses.address6}/64 dev eth0 nodad`,
    'link set eth0 up',
    ...defaultRoutes('eth0', plan.gateway4, plan.gateway6),
  ];
  const pid = await startPause(netns, lines);
  const pause = identify(pid);
  if (pause !== undefined) return pause;
  throw new ServalError('ERR_KERNEL', {
    subject: `pause process of ${netns}`,
    reason: `it ended at once (pid ${pid})`,
    remedy: 'See the kernel log: dmesg',
  });
}

/*
 * The first process that is forked after `unshare --pid` is PID 1 of the new namespace, and the namespace ends with
 * it: so the pause process comes first, `ip` later. It ignores SIGCHLD, thus the kernel reaps the orphans that every
 * PID 1 inherits. Mounts are slaves of the machine's: what it unmounts goes away in the pod too, while the pod's own
 * /proc reaches nobody. Output ends when pause has replaced the shell.
 */
async function startPause(netns: string, lines: readonly string[]): Promise<number> {
  const pause = `exec ${tool('env')} -i --ignore-signal=CHLD ${tool('sleep')} infinity </dev/null >/dev/null 2>&1`;
  const script = [
    quietScript(),
    `( ${tool('mount')} -t proc proc /proc; ${closeDescriptors}; echo mounted; ${pause} ) &`,
    'echo "pid $!"',
    batchScript(lines),
  ].join('\n');
  const unshare = [tool('unshare'), '--mount', '--propagation', 'slave', '--pid', tool('bash'), '-e'];
  const { stdout, stderr } = await run(tool('nsenter'), [`--net=${netns}`, ...unshare], {
    input: script,
    detached: true,
  }).catch((error: unknown) => {
    throw batchError(error, lines);
  });
  const pid = Number(/^pid (\d+)$/m.exec(stdout)?.[1]);
  if (/^mounted$/m.test(stdout) && pid > 0) return pid;
  throw new ServalError('ERR_KERNEL', {
    subject: `pause process of ${netns}`,
    reason: `/proc can not be mounted: ${stderr.trim()}`,
    remedy: 'Run the lab as root outside of an unprivileged container',
  });
}

/**
 * Takes a pod apart, whatever of it exists. Processes first, with the network still there, as a container runtime
 * does: their kernel says goodbye to the peers.
 * @throws ServalError ERR_KERNEL when a process or the namespace would not go
 */
export async function dismantlePod(host: Host, pod: PodState): Promise<void> {
  const deadline = performance.now() + patience;
  const alive = () => [
    ...[pod.pause].filter((pause) => pause !== null).filter(isAlive),
    ...processesIn([pod.namespace]),
  ];
  for (let left = alive(); left.length > 0 && performance.now() < deadline; left = alive()) {
    left.forEach(killProcess);
    await delay(2);
  }
  // The link goes first, and at once: the kernel takes namespaces apart later, and until then packets still flow.
  await ipBatch([`link del ${pod.hostInterface}`], host.netns).catch(() => undefined); // it may never have been made
  const names = existingNamespaces([pod.namespace]);
  if (names.length > 0) await ipBatch(names.map((name) => `netns del ${name}`));
}

function podPidOf(pid: number): number {
  const line = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  return Number(line.split(/\s+/).at(-1));
}
