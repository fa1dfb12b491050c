/** Says whether CRIU works here, and makes its start cheap. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
} from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { defaultCriuPath, explainLog, run } from './criu-process.js';

/** What this node's CRIU is and can do. */
export interface MoverFacts {
  criuPath: string;
  /** e.g. `4.2.1` */
  version: string;
  kernel: string;
  /** whether memory could be sent while the workload runs (pre-dump); no kernel without soft-dirty tracking can */
  dirtyTracking: boolean;
  /** whether CRIU finds its kernel feature cache: without it each dump and each restore takes 50 ms longer */
  featureCache: boolean;
}

/** Where CRIU looks for the cache of its kernel feature tests; not an option of its. */
const cacheFile = '/run/criu.kdat';
const cacheHome = '/dev/shm/serval-criu';
const tmpfsMagic = 0x01021994;

/** Checks CRIU and the kernel; throws ERR_UNSUPPORTED or ERR_NO_PERMISSION with the remedy where it can't work. */
export async function moverReady(criuPath: string = defaultCriuPath()): Promise<MoverFacts> {
  if (process.getuid?.() !== 0) {
    throw new ServalError('ERR_NO_PERMISSION', {
      subject: criuPath,
      reason: 'CRIU needs root, to read and to rebuild the memory and the sockets of other processes',
      remedy: 'run as root, with CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_NET_ADMIN',
    });
  }
  const version = await run(criuPath, ['--version']);
  const number = /^Version: (\S+)/m.exec(version.stdout)?.[1];
  if (version.code !== 0 || number === undefined) throw missing(criuPath, version.stderr);
  // First, since a start without it litters a /run that is no tmpfs (criu.kdat.tmp).
  const featureCache = await keepFeatureCache(criuPath);
  const check = await run(criuPath, ['check']);
  if (check.code !== 0) throw unsupported(criuPath, number, check.stdout + check.stderr);
  const dirty = await run(criuPath, ['check', '--feature', 'mem_dirty_track']);
  return { criuPath, version: number, kernel: release(), dirtyTracking: dirty.code === 0, featureCache };
}

/**
 * CRIU tests the kernel's features at each start, 57 ms of a dump's 92, unless it finds the results of an earlier
 * run in /run; it writes them there only where /run is a tmpfs, since they must not outlive the boot. Where it isn't
 * (many a development container) they are made under a tmpfs and /run gets a symbolic link into /dev/shm: after a
 * reboot it points nowhere, which CRIU takes for no cache.
 */
async function keepFeatureCache(criuPath: string): Promise<boolean> {
  if (existsSync(cacheFile)) return true;
  if (statfsSync('/run').type === tmpfsMagic || statfsSync('/dev/shm').type !== tmpfsMagic) return false;
  mkdirSync(cacheHome, { recursive: true, mode: 0o700 });
  const work = mkdtempSync(join(cacheHome, 'making.'));
  const script = 'mount -t tmpfs none /run && "$1" check && cp /run/criu.kdat "$2"';
  const made = join(work, 'criu.kdat');
  const result = await run('unshare', ['--mount', '/bin/sh', '-c', script, 'serval', criuPath, made]);
  if (result.code === 0) {
    const kept = join(cacheHome, 'criu.kdat');
    renameSync(made, kept);
    linkCache(kept);
  }
  rmSync(work, { recursive: true, force: true });
  return existsSync(cacheFile);
}

/** Removes the link and the cache that moverReady made; a cache of CRIU's own stays. */
export function removeFeatureCache(): void {
  const link = lstatSync(cacheFile, { throwIfNoEntry: false });
  if (link?.isSymbolicLink() && readlinkSync(cacheFile).startsWith(cacheHome)) rmSync(cacheFile);
  rmSync(cacheHome, { recursive: true, force: true });
}

function linkCache(kept: string): void {
  const fresh = `${cacheFile}.serval-${process.pid}`;
  symlinkSync(kept, fresh);
  renameSync(fresh, cacheFile);
}

function missing(criuPath: string, reason: string): ServalError {
  return new ServalError('ERR_UNSUPPORTED', {
    subject: criuPath,
    reason: `CRIU can not be started: ${reason.trim() || 'it does not say its version'}`,
    remedy: 'run scripts/install-criu.sh, or name a CRIU of 4.2 or later in SERVAL_CRIU',
  });
}

function unsupported(criuPath: string, version: string, output: string): ServalError {
  const lines = explainLog(output);
  return new ServalError('ERR_UNSUPPORTED', {
    subject: `${criuPath} ${version} on ${release()}`,
    reason: `criu check says no: ${lines[0] ?? 'without a reason'}`,
    remedy:
      'run scripts/install-criu.sh for a current CRIU, and look for CONFIG_CHECKPOINT_RESTORE in the kernel',
    details: { log: lines },
  });
}
