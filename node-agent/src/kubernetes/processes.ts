/**
 * Finds the processes of pods by what the kernel says of each process's cgroup: container runtimes put the container's id into
 * its path, the kubelet the pod's uid. No runtime has to be asked.
 */
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A process that some pod may own. */
export interface PodProcess {
  pid: number;
  /** path in the hierarchy of cgroup v2, as this process sees it */
  cgroup: string;
  /** the container that it is in; the last of the path: runtimes nest theirs in what they are given */
  container?: string;
  /** uid of the pod, where the path has it */
  pod?: string;
}

const containerId = /[0-9a-f]{64}/g;
const podUid = /pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12})/;

/** `cgroup`: what /proc/PID/cgroup says. Undefined for a process of no pod. */
export function processOf(pid: number, cgroup: string): PodProcess | undefined {
  const path = /^0::(.*)$/m.exec(cgroup)?.[1] ?? '';
  const container = path.match(containerId)?.at(-1) ?? cgroup.match(containerId)?.at(-1);
  const pod = podUid.exec(cgroup)?.[1]?.replaceAll('_', '-');
  if (container === undefined && pod === undefined) return undefined;
  return {
    pid,
    cgroup: path,
    ...(container === undefined ? {} : { container }),
    ...(pod === undefined ? {} : { pod }),
  };
}

/** So many at once: 3,000 processes take 60 ms of a processor, and nothing else waits longer than for one batch. */
const batch = 64;

export class ProcessTable {
  /** @param proc where the machine's own /proc is seen: `/proc`, or a mount of it */
  constructor(private readonly proc: string) {}

  /** All processes that are in a container or a pod. */
  async scan(): Promise<PodProcess[]> {
    const pids = (await readdir(this.proc)).filter((name) => /^\d+$/.test(name));
    const found: PodProcess[] = [];
    for (let from = 0; from < pids.length; from += batch) {
      const some = pids.slice(from, from + batch).map((pid) => this.read(Number(pid)));
      for (const process of await Promise.all(some)) if (process !== undefined) found.push(process);
    }
    return found;
  }

  /** Inode of a process's network namespace; undefined where it has ended. */
  async netnsOf(pid: number | 'self'): Promise<number | undefined> {
    const link = await readlink(this.netnsPath(pid)).catch(() => '');
    const inode = /^net:\[(\d+)\]$/.exec(link)?.[1];
    return inode === undefined ? undefined : Number(inode);
  }

  netnsPath(pid: number | 'self'): string {
    return join(this.proc, String(pid), 'ns/net');
  }

  /** Pid of its parent; 0 where it has ended. */
  async parentOf(pid: number): Promise<number> {
    const text = await readFile(join(this.proc, String(pid), 'stat'), 'utf8').catch(() => '');
    // Its name, in parentheses, may have spaces.
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
  }

  private async read(pid: number): Promise<PodProcess | undefined> {
    // Gone in the meantime, as processes are.
    const text = await readFile(join(this.proc, String(pid), 'cgroup'), 'utf8').catch(() => '');
    return processOf(pid, text);
  }
}

/** Names of network namespaces, by inode: a path that lasts as long as the pod, whichever of its processes end. */
export async function namedNamespaces(folder = '/run/netns'): Promise<Map<number, string>> {
  const names = await readdir(folder).catch(() => []);
  const paths = new Map<number, string>();
  for (const name of names) {
    const path = join(folder, name);
    const inode = (await stat(path).catch(() => undefined))?.ino;
    if (inode !== undefined) paths.set(inode, path);
  }
  return paths;
}
