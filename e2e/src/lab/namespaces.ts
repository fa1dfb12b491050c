import { existsSync, readlinkSync, statSync } from 'node:fs';
import { ServalError } from '@serval/api';
import { allPids, identify, run, tool, type ProcessIdentity } from './processes.js';

/** Where iproute2 keeps a named network namespace. */
export function namespacePath(name: string): string {
  return `/run/netns/${name}`;
}

/** Name of a lab's namespace: `labID-NODE`, for a pod `labID-HOST-POD`. */
export function namespaceName(id: string, node: string): string {
  return `lab${id}-${node}`;
}

/** Arguments for nsenter into a network namespace and, for a pod, into its PID and mount namespace. */
export function enterArguments(netns: string, pausePid?: number): string[] {
  const net = `--net=${netns}`;
  return pausePid === undefined
    ? [net]
    : [net, `--pid=/proc/${pausePid}/ns/pid`, `--mount=/proc/${pausePid}/ns/mnt`];
}

/**
 * Runs `ip -batch` with these lines, in a namespace when one is given. `netns add` and `netns del` lines work in
 * there too, since only the network namespace is entered.
 * @throws ServalError ERR_KERNEL naming the line that failed
 */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const enter = netns === undefined ? [] : [tool('nsenter'), `--net=${netns}`];
  const [program = '', ...args] = [...enter, tool('ip'), '-batch', '-'];
  try {
    await run(program, args, { input: `${lines.join('\n')}\n` });
  } catch (error) {
    throw batchError(error, lines);
  }
}

/** Adds the text of the batch line that an `ip -batch` failed at to its error. */
export function batchError(error: unknown, lines: readonly string[]): unknown {
  if (!(error instanceof ServalError)) return error;
  const line = lines[Number(/Command failed -:(\d+)/.exec(String(error.details.stderr))?.[1]) - 1];
  if (line === undefined) return error;
  return new ServalError(error.code, {
    subject: `ip ${line}`,
    reason: error.reason,
    remedy: 'See the reason; a kernel without this feature can not run the lab',
    cause: error,
    details: error.details,
  });
}

/** Lines of a shell script that feeds `ip -batch`. */
export function batchScript(lines: readonly string[]): string {
  return [`${tool('ip')} -batch - <<'END_OF_BATCH'`, ...lines, 'END_OF_BATCH', ''].join('\n');
}

/** Every process whose network namespace is one of these, apart from this one. */
export function processesIn(names: readonly string[]): ProcessIdentity[] {
  const inodes = new Set(names.map(namespaceInode).filter((inode) => inode !== undefined));
  if (inodes.size === 0) return [];
  return allPids()
    .filter((pid) => pid !== process.pid && inodes.has(processInode(pid) ?? -1))
    .map(identify)
    .filter((identity) => identity !== undefined);
}

/** Names out of `names` that exist at the moment. */
export function existingNamespaces(names: readonly string[]): string[] {
  return names.filter((name) => existsSync(namespacePath(name)));
}

/** Inode of a named namespace, or undefined when it is gone, only a file, or our own. */
function namespaceInode(name: string): number | undefined {
  const own = statSync('/proc/self/ns/net');
  const found = statSync(namespacePath(name), { throwIfNoEntry: false });
  return found === undefined || found.dev !== own.dev || found.ino === own.ino ? undefined : found.ino;
}

function processInode(pid: number): number | undefined {
  try {
    return Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0]);
  } catch {
    return undefined; // it ended
  }
}
