/**
 * What a run leaves on the machine while it lasts: network namespaces, bpf file systems, processes, a folder. All
 * carry the run's process id in their name, so that a later run can take away what a killed one has left.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EbpfDatapath, native, type EbpfOptions } from '@serval/node-agent';
import { run } from './shell.js';

const prefix = 'servalbench';
const ours = new RegExp(`${prefix}-(\\d+)(?=[-/]|$)`);

export class Workspace {
  readonly folder = join(tmpdir(), `${prefix}-${process.pid}`);
  private readonly undo: Array<() => Promise<void> | void> = [];
  private fileSystems = 0;

  /** Makes the folder; takes away what runs that were killed have left. */
  static async open(): Promise<Workspace> {
    await removeStale();
    const workspace = new Workspace();
    mkdirSync(workspace.folder, { recursive: true });
    workspace.atEnd(() => rmSync(workspace.folder, { recursive: true, force: true }));
    return workspace;
  }

  /** To be done at the end, before everything that was asked for earlier. */
  atEnd(work: () => Promise<void> | void): void {
    this.undo.push(work);
  }

  /** Take all away, as far as it goes; the first failure is thrown at the end. */
  async close(): Promise<void> {
    let failure: unknown;
    for (let work = this.undo.pop(); work !== undefined; work = this.undo.pop()) {
      try {
        await work();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure as Error;
  }

  /** A network namespace; returns its path. */
  async netns(label: string): Promise<string> {
    const name = `${prefix}-${process.pid}-${label}`;
    await run(['ip', 'netns', 'add', name]);
    this.atEnd(async () => void (await run(['ip', 'netns', 'del', name])));
    await run(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
    return `/run/netns/${name}`;
  }

  /** A data plane on a bpf file system of its own. */
  async datapath(options: EbpfOptions): Promise<{ datapath: EbpfDatapath; bpffs: string }> {
    const bpffs = join(this.folder, `bpf-${this.fileSystems++}`);
    mkdirSync(bpffs);
    native().mountBpffs(bpffs);
    this.atEnd(() => native().unmountBpffs(bpffs));
    const datapath = await EbpfDatapath.open({ ...options, bpffs });
    this.atEnd(() => datapath.uninstall());
    return { datapath, bpffs };
  }
}

/** The workspace is taken away however the work ends; a signal ends the process afterwards. */
export async function withWorkspace<Result>(
  work: (workspace: Workspace) => Promise<Result>,
  progress: (line: string) => void,
): Promise<Result> {
  const workspace = await Workspace.open();
  const leave = (signal: NodeJS.Signals): void => {
    progress(`${signal}: cleaning up`);
    void workspace.close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    return await work(workspace);
  } finally {
    process.off('SIGINT', leave).off('SIGTERM', leave);
    await workspace.close();
  }
}

/** Namespaces and mounts of runs whose process is gone. */
async function removeStale(): Promise<void> {
  const isStale = (name: string): boolean => {
    const pid = ours.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  for (const name of namespaces.filter(isStale)) await run(['ip', 'netns', 'del', name]);
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const path of mounts.filter(isStale)) native().unmountBpffs(path);
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix) && isStale(entry)))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}
