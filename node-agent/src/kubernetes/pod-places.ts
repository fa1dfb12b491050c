/** Where the pods of this node are: their network namespaces, and the processes that a mover needs. */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { cgroupRoot } from '../movers/cgroup.js';
import type { PodObject, PodPlace } from './pod-object.js';
import { namedNamespaces, ProcessTable, type PodProcess } from './processes.js';

export interface PlacesOptions {
  /** the machine's own /proc */
  proc: string;
  /** network namespaces by name, as CNI plugins make them */
  netnsFolder?: string;
  /** the machine's cgroup v2; default: where it is mounted */
  cgroups?: string;
  /** whether pids in `proc` are those that this process may use (it is in the machine's own pid namespace) */
  ownPids: boolean;
}

export class PodPlaces {
  private readonly table: ProcessTable;
  private readonly cgroups: string;

  constructor(private readonly options: PlacesOptions) {
    this.table = new ProcessTable(options.proc);
    this.cgroups = options.cgroups ?? cgroupRoot();
  }

  /** By the pods' uids; pods without a process are missing. One look at all processes, however many pods. */
  async find(pods: readonly PodObject[]): Promise<Map<string, PodPlace>> {
    const processes = await this.table.scan();
    const [names, host] = await Promise.all([
      namedNamespaces(this.options.netnsFolder),
      this.table.netnsOf('self'),
    ]);
    const places = new Map<string, PodPlace>();
    for (const pod of pods) {
      const place = await this.place(pod, membersOf(pod, processes), names, host);
      if (place !== undefined) places.set(pod.metadata.uid ?? '', place);
    }
    return places;
  }

  private async place(
    pod: PodObject,
    { own, others }: Members,
    names: ReadonlyMap<number, string>,
    host: number | undefined,
  ): Promise<PodPlace | undefined> {
    // Shims and monitors of some runtimes are in the pod's cgroup, and in the machine's network.
    const pause = await this.inPod(others, host);
    const first = pause ?? (await this.inPod(own, host));
    if (first === undefined) return undefined;
    const netns = names.get(first.netns) ?? this.table.netnsPath(first.pid);
    if (pause === undefined || !this.options.ownPids) return { netns };
    const process = await this.processOf(pod, own, pause.pid);
    const cgroup = await this.folderOf(pause.cgroup, pause.container ?? pod.metadata.uid ?? '');
    return {
      netns,
      ...(cgroup === undefined ? {} : { holder: { pid: pause.pid, cgroup } }),
      ...(process === undefined ? {} : { process }),
    };
  }

  private async inPod(
    processes: readonly PodProcess[],
    host: number | undefined,
  ): Promise<(PodProcess & { netns: number }) | undefined> {
    for (const process of processes) {
      const netns = await this.table.netnsOf(process.pid);
      if (netns !== undefined && netns !== host) return { ...process, netns };
    }
    return undefined;
  }

  /** Of pods of one container: CRIU takes one tree of processes. */
  private async processOf(
    pod: PodObject,
    own: readonly PodProcess[],
    pausePid: number,
  ): Promise<PodPlace['process']> {
    if (pod.own !== 1 || pod.containers.length !== 1) return undefined;
    const pids = new Set(own.map(({ pid }) => pid));
    for (const { pid, cgroup } of own) {
      if (pids.has(await this.table.parentOf(pid))) continue;
      const folder = await this.folderOf(cgroup, pod.containers[0] as string);
      return folder === undefined ? undefined : { pausePid, pid, cgroup: folder };
    }
    return undefined;
  }

  /** From within a cgroup namespace a path leads out of it by `..`, and does not say from where: then it is looked for. */
  private async folderOf(cgroup: string, container: string): Promise<string | undefined> {
    if (!cgroup.startsWith('/..')) return join(this.cgroups, cgroup);
    const folders = [this.cgroups];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      if (basename(folder).includes(container)) return folder;
      const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
      for (const entry of entries) if (entry.isDirectory()) folders.push(join(folder, entry.name));
    }
    return undefined;
  }
}

interface Members {
  /** in containers of the pod that its status names */
  own: PodProcess[];
  /** in its cgroup, by the pod's uid, and in none of them: who holds its namespaces */
  others: PodProcess[];
}

export function membersOf({ metadata, containers }: PodObject, processes: readonly PodProcess[]): Members {
  const ids = new Set(containers);
  const members: Members = { own: [], others: [] };
  for (const process of processes) {
    if (process.container !== undefined && ids.has(process.container)) members.own.push(process);
    else if (process.pod === metadata.uid) members.others.push(process);
  }
  return members;
}
