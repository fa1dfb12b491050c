/**
 * The `criu` mover: carries a process tree, with its established TCP connections, from one pod's namespaces into
 * another pod's on this or another node.
 *
 * A pod is what its pause process (PID 1 inside) holds: network, PID and mount namespace. CRIU runs inside all three
 * (nsenter), so it finds no foreign namespace to dump, and in the target the workload's PIDs are free. One run:
 *
 *     freeze, dump (source)  ->  transfer  ->  restore (target, stands still)  ->  resume (target), discard (source)
 *                                                        or any time before: thaw (source), discard (target)
 *
 * What was found out about CRIU 4.2.1 on Linux 6.18, and what follows from it:
 *
 * - **Repair mode after the dump.** `criu dump --leave-stopped` leaves every dumped socket in repair mode (it turns it
 *   off only when the tree is to run on), and after a rollback the peer's next packet was answered with a reset.
 *   `--leave-running` in a cgroup that was frozen before turns repair off and puts the freezer back before CRIU lets
 *   go of the tasks: the source stands still with its state whole, and a rollback is one write (rule 4).
 *   During the dump, though, the sockets are in repair mode: the hold must stand before.
 * - **Freezer.** With `--freeze-cgroup` on a frozen cgroup CRIU seizes the tasks first, thaws the cgroup while its
 *   parasite works in them and freezes it again at the end, failure included. Without the option it hangs for ever:
 *   a frozen task does not run the parasite. And a CRIU that is killed in the middle leaves a workload that crashes.
 * - **Packets at the restore.** CRIU turns repair mode off in the restorer, before the tasks stop, and not at resume:
 *   the kernel then sends one window probe for each established connection (a bare ACK, one byte below snd_una) and,
 *   where unsent data was dumped, that data. So packets do leave before `resume`: the hold at the target must stand
 *   before `restore`, and its release belongs to the switch.
 * - **Retransmission timers.** A restored socket knows no RTT. What was sent and not acknowledged at the dump, or what
 *   the target's hold has swallowed at the restore, is sent again 1 s after the restore. So the better order at the
 *   source is: freeze, let the send queues drain for some RTTs (the kernel is awake), then hold, then dump.
 * - **PIDs.** CRIU's own processes take PIDs in the target too, from the lowest: they met those of redis' threads
 *   (clone3: EEXIST). So ns_last_pid is put out of the way first, and CRIU itself must not be where one of them
 *   belongs (met in one of some 300 random moves). A zombie keeps its PID too.
 * - **One restore for one pod.** Zombies of a discarded restore keep their PIDs where PID 1 does not reap: a second attempt
 *   wants a fresh target. The images are good for as many as it takes.
 * - **Descriptors.** Whatever the workload has open it must have opened inside the pod: /dev/null handed in from
 *   outside is on a mount that CRIU can't find.
 * - **Pre-dump** can't help here: it needs soft-dirty tracking (`criu check --feature mem_dirty_track` says no,
 *   CONFIG_MEM_SOFT_DIRTY is not set), so each pre-dump would have to be followed by a whole dump.
 *
 * Times: median of 7 moves of a redis-server (12 MB resident) with N connections, images in tmpfs, on two cores that
 * others kept busy (this at real-time priority, against that):
 *
 *     N    freeze  dump (of it frozen)  transfer  restore  resume   together
 *     1    0.4     35 (15)              13        40       0.2      91 ms
 *     200  0.3     58 (38)              33        58       0.2      152 ms
 *
 * What dominates: the start of CRIU, 57 ms more each time unless `moverReady` has made its feature cache; then one
 * image for each connection, 0.1 ms each way. Log level 4 costs another 12 ms on each side. What could still be taken
 * out of the gap: starting CRIU before the freeze (15 ms on each side).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { closeAllSockets } from '../host/sockets.js';
import {
  cgroupProcesses,
  freezeCgroup,
  isFrozen,
  isPopulated,
  killCgroup,
  signalCgroup,
  thawCgroup,
} from './cgroup.js';
import { criuFailure, defaultCriuPath, enterPod, run } from './criu-process.js';

/** A process tree in a pod: what can be frozen and dumped. */
export interface Workload {
  /** for errors and logs, e.g. `shop/redis-0` */
  name: string;
  /** the process that holds the pod's namespaces, as this host numbers it */
  pausePid: number;
  /** the root of the tree, as this host numbers it */
  pid: number;
  /** absolute path of the tree's own cgroup v2 */
  cgroup: string;
}

/** A pod that waits for a workload: its namespaces, and an empty cgroup of its own. */
export interface RestoreTarget {
  name: string;
  pausePid: number;
  cgroup: string;
}

/** What a dump left and what it took. */
export interface DumpResult {
  /** the whole command; CRIU's own start (15 ms with its kernel feature cache, 70 ms without) included */
  dumpMs: number;
  /** how long CRIU had the tasks, by its own account */
  frozenMs: number;
  memoryMs: number;
  pages: number;
}

/** A restored workload that stands still. */
export interface RestoreResult {
  restoreMs: number;
  /** the root of the tree, as this host numbers it */
  pid: number;
}

export interface CriuMoverOptions {
  /** default: see defaultCriuPath */
  criuPath?: string;
  /** how long a freeze or a kill may take */
  timeoutMs?: number;
  /** 1 errors, 2 (default) warnings too, 4 everything */
  verbosity?: number;
}

/** Moves workloads with CRIU. Keeps no state: every call says what it works on. */
export class CriuMover {
  readonly #criu: string;
  readonly #timeoutMs: number;
  readonly #verbosity: number;

  constructor(options: CriuMoverOptions = {}) {
    this.#criu = options.criuPath ?? defaultCriuPath();
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#verbosity = options.verbosity ?? 2;
  }

  /** Stops the whole tree at once. Idempotent. Its kernel is awake: the hold must stand before the dump. */
  async freeze(workload: Workload): Promise<{ freezeMs: number }> {
    const start = performance.now();
    if (!isPopulated(workload.cgroup)) throw gone(workload.name, workload.cgroup);
    await freezeCgroup(workload.cgroup, this.#timeoutMs);
    return { freezeMs: performance.now() - start };
  }

  /** Rollback: the source runs on, its state whole, sockets included. Idempotent. */
  thaw(workload: Workload): { thawMs: number } {
    const start = performance.now();
    thawCgroup(workload.cgroup);
    return { thawMs: performance.now() - start };
  }

  /**
   * Writes the frozen tree into `imagesDir` (a tmpfs, seen at the same path inside the pod) and leaves it frozen.
   * Freezes first where nobody has. On failure too the tree stays frozen: the caller decides about the thaw.
   */
  async dump(workload: Workload, imagesDir: string): Promise<DumpResult> {
    await this.freeze(workload);
    prepareImagesDir(workload, imagesDir);
    const args = ['dump', '--tree', String(podPid(workload)), '--leave-running', '--display-stats'];
    args.push(
      '--freeze-cgroup',
      workload.cgroup,
      '--network-lock',
      'skip',
      ...this.#common(imagesDir, 'dump.log'),
    );
    const result = await run('nsenter', [...enterPod(workload.pausePid), this.#criu, ...args]);
    // CRIU has put the freezer back; that nothing ran in between is its word, that nothing runs now is ours.
    await freezeCgroup(workload.cgroup, this.#timeoutMs);
    if (result.code !== 0) throw criuFailure(workload.name, 'dump', join(imagesDir, 'dump.log'), result);
    return { dumpMs: result.ms, ...dumpStatistics(result.stdout) };
  }

  /**
   * Restores the tree into the target's namespaces and cgroup, where it stands still, frozen, until `resume`. The
   * pod's old address must be on `lo` there, and the hold in place: sockets are live from here on (see above).
   *
   * With `connections: 'close'` the connections are left behind: what a move without Serval comes to.
   *
   * `--leave-stopped` alone was compared: the restore takes as long and the resume 0.2 ms, but it leaves each process
   * in state T, which any stray SIGCONT ends and a resume has to end process by process. So the stopped tree is frozen
   * and then sent SIGCONT while it can not run: from there on it is the freezer's alone and resumes with one write.
   */
  async restore(
    target: RestoreTarget,
    imagesDir: string,
    options: { connections?: 'keep' | 'close' } = {},
  ): Promise<RestoreResult> {
    const start = performance.now();
    requireEmpty(target);
    requireVisible(target, imagesDir);
    thawCgroup(target.cgroup);
    const pidFile = join(imagesDir, 'restored.pid');
    for (const stale of [pidFile, join(imagesDir, 'restore.log')]) rmSync(stale, { force: true });
    const args = ['restore', '--restore-detached', '--leave-stopped', '--pidfile', pidFile];
    args.push(...this.#common(imagesDir, 'restore.log'));
    if (options.connections === 'close') args.push('--tcp-close');
    const command = inTarget(target, imagesDir, [this.#criu, ...args]);
    let result = await run('/bin/sh', command);
    if (result.code === pidTaken) result = await run('/bin/sh', command);
    if (result.code !== 0) {
      await killCgroup(target.cgroup, this.#timeoutMs);
      throw criuFailure(target.name, 'restore', join(imagesDir, 'restore.log'), result);
    }
    await freezeCgroup(target.cgroup, this.#timeoutMs);
    signalCgroup(target.cgroup, 'SIGCONT');
    return { restoreMs: performance.now() - start, pid: restoredPid(target, pidFile) };
  }

  /** Lets the restored tree run: one write. Idempotent. */
  resume(target: RestoreTarget): { resumeMs: number } {
    const start = performance.now();
    if (!isPopulated(target.cgroup)) throw gone(target.name, target.cgroup);
    thawCgroup(target.cgroup);
    return { resumeMs: performance.now() - start };
  }

  /**
   * Kills a frozen source or a restored target, which must be held. Its sockets are closed before: they say goodbye to every
   * peer once, into the hold. Left to the kill they would linger (FIN_WAIT1) and say so again when the hold is gone; a peer
   * that had been silent meanwhile then took its stream for ended (seen after a rollback, the target's host having been cut
   * off). Idempotent; the empty cgroup is left to whoever made it.
   */
  async discard(workload: RestoreTarget | Workload): Promise<{ discardMs: number }> {
    const start = performance.now();
    // A kernel that can't (no INET_DIAG_DESTROY), a pod that goes just now: it must not run on for that.
    await closePodSockets(workload.pausePid).catch(() => undefined);
    await killCgroup(workload.cgroup, this.#timeoutMs);
    if (existsSync(workload.cgroup)) thawCgroup(workload.cgroup);
    return { discardMs: performance.now() - start };
  }

  /**
   * Cgroups are ours to manage: dumped, they would be made again under the source's path. The log goes beside the
   * images, into tmpfs. CRIU's own network lock (iptables, nftables) is left out of the dump by its caller: the
   * SAL holds the packets.
   */
  #common(imagesDir: string, log: string): string[] {
    const connections = ['--tcp-established', '--file-locks'];
    const place = ['--images-dir', imagesDir, '--log-file', log, `--verbosity=${this.#verbosity}`];
    return [...connections, '--manage-cgroups=ignore', ...place];
  }
}

/** Nothing where the pod is gone already; never those of the namespace that this process lives in. */
async function closePodSockets(pausePid: number): Promise<void> {
  const netns = `/proc/${pausePid}/ns/net`;
  if (!existsSync(netns) || statSync(netns).ino === statSync('/proc/self/ns/net').ino) return;
  await closeAllSockets(netns);
}

/** What the shell in the target ends with when it is itself where a process of the workload belongs. */
const pidTaken = 75;

/**
 * CRIU goes into the target's cgroup before it starts, so that what it restores is born there; and from the pod's
 * inside it moves the counter of PIDs out of the workload's way. The file acts on the PID namespace of the writer.
 * The shell which does that, and becomes CRIU, got its PID before: where that is one of the workload's it gives up,
 * and the next one gets a PID that is free. Every thread of the workload has its image, core-PID.img.
 */
function inTarget(target: RestoreTarget, imagesDir: string, command: readonly string[]): string[] {
  const inside =
    'echo "$1" >/proc/sys/kernel/ns_last_pid || exit; ' +
    `[ ! -e "$2/core-$$.img" ] || exit ${pidTaken}; shift 2; exec "$@"`;
  const outside = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"';
  const enter = ['nsenter', ...enterPod(target.pausePid), '/bin/sh', '-c', inside, 'serval'];
  const place = [String(firstFreePid(imagesDir)), imagesDir];
  return ['-c', outside, 'serval', target.cgroup, ...enter, ...place, ...command];
}

/** Room that CRIU needs for the PIDs of its own: itself and a few helpers. */
const criuPids = 64;

/** The lowest PID after which CRIU's own meet none of the workload's. */
export function freePidAfter(imageNames: readonly string[]): number {
  const taken = imageNames
    .map((name) => Number(/^core-(\d+)\.img$/.exec(name)?.[1] ?? 0))
    .sort((a, b) => a - b);
  // Not below 300: after a wrap the kernel begins there.
  return taken.reduce((last, pid) => (pid > last && pid <= last + criuPids ? pid : last), 300);
}

function firstFreePid(imagesDir: string): number {
  const names = readdirSync(imagesDir);
  if (names.includes('inventory.img')) return freePidAfter(names);
  throw new ServalError('ERR_MOVER', {
    subject: imagesDir,
    reason: 'holds no images of a finished dump (inventory.img is missing)',
    remedy: 'dump first and transfer every file',
  });
}

/** The tree's root as the pod's own PID namespace numbers it: the last field of NSpid. */
export function podPidOf(status: string): number | undefined {
  const field = /^NSpid:\t(.*)$/m.exec(status)?.[1]?.split('\t').at(-1);
  return field === undefined ? undefined : Number(field);
}

function podPid(workload: Workload): number {
  const pid = podPidOf(statusOf(workload.pid));
  if (pid === undefined) throw gone(workload.name, `process ${workload.pid}`);
  return pid;
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

/** The host's number of the restored root, of which CRIU knows only the pod's. */
function restoredPid(target: RestoreTarget, pidFile: string): number {
  const inPod = Number(readFileSync(pidFile, 'utf8'));
  const pid = cgroupProcesses(target.cgroup).find((candidate) => podPidOf(statusOf(candidate)) === inPod);
  if (pid === undefined) throw gone(target.name, target.cgroup);
  return pid;
}

function prepareImagesDir(workload: Workload, imagesDir: string): void {
  rmSync(imagesDir, { recursive: true, force: true });
  // The images are the workload's memory: secrets included.
  mkdirSync(imagesDir, { recursive: true, mode: 0o700 });
  requireVisible(workload, imagesDir);
}

/** CRIU reads and writes the images from inside the pod: the folder has to be the same one there. */
function requireVisible(pod: { name: string; pausePid: number }, imagesDir: string): void {
  const inside = statSync(`/proc/${pod.pausePid}/root${imagesDir}`, { throwIfNoEntry: false });
  const outside = statSync(imagesDir, { throwIfNoEntry: false });
  if (outside !== undefined && inside?.ino === outside.ino && inside.dev === outside.dev) return;
  throw new ServalError('ERR_MOVER', {
    subject: pod.name,
    reason: `${imagesDir} is not there, or not the same folder, in the pod's mount namespace`,
    remedy: 'choose a folder of a tmpfs that was mounted before the pod was made, e.g. below /dev/shm',
  });
}

function requireEmpty(target: RestoreTarget): void {
  if (!isPopulated(target.cgroup)) return;
  throw new ServalError('ERR_MOVER', {
    subject: target.name,
    reason: `processes ${cgroupProcesses(target.cgroup).join(', ')} are in the target's cgroup already`,
    remedy: 'discard them first, or restore into another cgroup: a workload never runs twice',
    details: { frozen: isFrozen(target.cgroup) },
  });
}

function gone(subject: string, what: string): ServalError {
  return new ServalError('ERR_MOVER', {
    subject,
    reason: `there is no live process of it (${what})`,
    remedy: 'look whether it was killed, by a probe or by the OOM killer, and start it again',
  });
}

/** CRIU's own account, as `--display-stats` prints it. */
export function dumpStatistics(text: string): Omit<DumpResult, 'dumpMs'> {
  const value = (name: string) => Number(new RegExp(`${name}: (\\d+)`).exec(text)?.[1] ?? 0);
  return {
    frozenMs: value('Frozen time') / 1000,
    memoryMs: value('Memory dump time') / 1000,
    pages: value('Memory pages written'),
  };
}
