/**
 * The cgroup v2 freezer: stops a whole process tree at once and lets it run again with one write. Each workload has
 * a cgroup of its own (made by the container runtime, by the lab, or here).
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServalError } from '@serval/api';

/** what statfs says of cgroup v2 (CGROUP2_SUPER_MAGIC) */
const cgroup2Magic = 0x63677270;

/** Where cgroup v2 is mounted: alone at /sys/fs/cgroup, or beside v1 at /sys/fs/cgroup/unified. */
export function cgroupRoot(
  candidates: readonly string[] = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'],
): string {
  const found = candidates.find((path) => existsSync(path) && statfsSync(path).type === cgroup2Magic);
  if (found === undefined) {
    throw new ServalError('ERR_UNSUPPORTED', {
      subject: candidates.join(' or '),
      reason: 'cgroup v2 is not mounted, and a workload is frozen by its freezer',
      remedy: 'mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with systemd.unified_cgroup_hierarchy=1',
    });
  }
  return found;
}

/** Makes a cgroup for one workload (no error where it is there) and returns its absolute path. */
export function createCgroup(name: string): string {
  const path = join(cgroupRoot(), name);
  inCgroup(path, 'make the cgroup', () => mkdirSync(path, { recursive: true }));
  return path;
}

/** Removes an empty cgroup; no error where it is gone. A just killed process may hold it a moment longer. */
export async function removeCgroup(path: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      rmdirSync(path);
      return;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || attempt === 200) throw refused(path, 'remove the cgroup', cause);
      await sleep(5);
    }
  }
}

/** Puts a process into the cgroup, threads included; its later children follow it. */
export function placeInCgroup(path: string, pid: number): void {
  inCgroup(path, `take in process ${pid}`, () => writeFileSync(join(path, 'cgroup.procs'), String(pid)));
}

/** The processes of the cgroup, as this process's PID namespace numbers them: none of one that is gone. */
export function cgroupProcesses(path: string): number[] {
  if (!existsSync(path)) return [];
  const text = inCgroup(path, 'list the processes', () => readFileSync(join(path, 'cgroup.procs'), 'utf8'));
  return text.split('\n').filter(Boolean).map(Number);
}

/** Is every process of the cgroup frozen? */
export function isFrozen(path: string): boolean {
  return readEvent(path, 'frozen');
}

/** Does any live process belong to the cgroup? */
export function isPopulated(path: string): boolean {
  return readEvent(path, 'populated');
}

/**
 * Freezes the cgroup and waits until every process stands still. Idempotent. Thaws again when one of them can not be
 * frozen in time (it sits in an uninterruptible system call), so that a failure leaves the workload running.
 */
export async function freezeCgroup(path: string, timeoutMs: number): Promise<void> {
  setFreeze(path, true);
  if (await until(() => isFrozen(path), timeoutMs)) return;
  setFreeze(path, false);
  throw new ServalError('ERR_MOVER', {
    subject: path,
    reason: `not every process was frozen within ${timeoutMs} ms`,
    remedy: 'look for processes in state D (disk or network file system) and try again; the workload runs on',
    details: { processes: cgroupProcesses(path) },
  });
}

/**
 * Lets the cgroup run again. Idempotent; one write, so the whole tree starts at the same moment. In one that is gone nothing
 * stands still: a container may end, and its runtime take its cgroup away, in the middle of a move.
 */
export function thawCgroup(path: string): void {
  if (!existsSync(path)) return;
  setFreeze(path, false);
}

/** Kills every process of the cgroup, frozen ones too, and waits until it is empty. */
export async function killCgroup(path: string, timeoutMs: number): Promise<void> {
  if (!existsSync(path)) return;
  killAll(path);
  if (await until(() => !isPopulated(path), timeoutMs)) return;
  throw new ServalError('ERR_MOVER', {
    subject: path,
    reason: `processes of the cgroup are alive ${timeoutMs} ms after SIGKILL`,
    remedy: 'look for processes in state D; the namespace must stay held until they are gone',
    details: { processes: cgroupProcesses(path) },
  });
}

/** Sends a signal to each process of the cgroup; one that has ended in the meantime is passed over. */
export function signalCgroup(path: string, signal: NodeJS.Signals): void {
  for (const pid of cgroupProcesses(path)) {
    try {
      process.kill(pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ESRCH')
        throw refused(path, `send ${signal} to ${pid}`, cause);
    }
  }
}

/** cgroup.kill came with 5.14 and leaves no gap for a fork; before that one by one, which a frozen tree can't escape. */
function killAll(path: string): void {
  const file = join(path, 'cgroup.kill');
  if (existsSync(file)) inCgroup(path, 'kill its processes', () => writeFileSync(file, '1'));
  else signalCgroup(path, 'SIGKILL');
}

function setFreeze(path: string, frozen: boolean): void {
  inCgroup(path, frozen ? 'freeze' : 'thaw', () =>
    writeFileSync(join(path, 'cgroup.freeze'), frozen ? '1' : '0'),
  );
}

function readEvent(path: string, name: string): boolean {
  const text = inCgroup(path, 'read its state', () => readFileSync(join(path, 'cgroup.events'), 'utf8'));
  return text.includes(`${name} 1`);
}

/**
 * A freeze takes well under a millisecond, a timer's tick is one: so the event loop is turned a few times first, and
 * the clock only asked when that was not enough.
 */
async function until(done: () => boolean, timeoutMs: number): Promise<boolean> {
  const start = performance.now();
  for (let turn = 0; !done(); turn++) {
    if (performance.now() - start > timeoutMs) return false;
    if (turn < 200) await new Promise((resolve) => setImmediate(resolve));
    else await sleep(1);
  }
  return true;
}

function inCgroup<T>(path: string, action: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw refused(path, action, cause);
  }
}

function refused(path: string, action: string, cause: unknown): ServalError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  return new ServalError('ERR_MOVER', {
    subject: path,
    reason: `the kernel refused to ${action} (${code})`,
    remedy: 'the cgroup must be a cgroup v2 folder that this process, as root, may write',
    details: { errno: code },
    cause,
  });
}
