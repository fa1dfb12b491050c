/**
 * A container from an image, by Debian's runc. What it writes goes to memory, and all that is mounted for it is in a mount
 * namespace of its own: nothing is left of it but the folder that it was given.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Image } from './built.js';
import { ociConfig, type Start } from './oci-config.js';
import type { ContainerSpec } from './pod-spec.js';

/** $1 its folder, $2 the image's files, then what starts it. */
const prepare = `
  mount -t tmpfs serval-container "$1/memory" && mkdir "$1/memory/upper" "$1/memory/work" &&
  mount -t overlay -o "lowerdir=$2,upperdir=$1/memory/upper,workdir=$1/memory/work" serval-container "$1/root" &&
  shift 2 && exec "$@"`;
const stopMs = 10_000;

export class Container {
  #words = '';

  private constructor(
    readonly id: string,
    private readonly folder: string,
    private readonly child: ChildProcess,
  ) {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#words += text));
  }

  /** @param home a folder for what belongs to it; it is for the caller to remove, when the container has ended */
  static start(image: Image, spec: ContainerSpec, start: Start, home: string): Container {
    const folder = mkdtempSync(join(home, `${image.name}-`));
    for (const name of ['memory', 'root']) mkdirSync(join(folder, name));
    const config = ociConfig(image, spec, start, join(folder, 'root'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    const id = `serval-${process.pid}-${basename(folder)}`;
    const runc = ['runc', '--root', join(folder, 'runc'), 'run', '--bundle', folder, id];
    const own = ['--mount', '/bin/sh', '-c', prepare, 'serval', folder, image.rootfs, ...runc];
    return new Container(id, folder, spawn('unshare', own, { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** Runs it to its end. @throws where it ends with anything but 0 */
  static async once(image: Image, spec: ContainerSpec, start: Start, home: string): Promise<string> {
    const container = Container.start(image, spec, start, home);
    const code = await container.end();
    if (code === 0) return container.words;
    throw new Error(
      `${start.args.join(' ')} in the ${image.name}'s image ended with ${code}: ${container.words}`,
    );
  }

  /** Runs a program in it, as whoever it runs as. @throws where that ends with anything but 0 */
  exec(...command: string[]): string {
    const { status, stdout, stderr } = this.runc('exec', this.id, ...command);
    if (status === 0) return stdout + stderr;
    throw new Error(`${command.join(' ')} in the running container ended with ${status}: ${stdout}${stderr}`);
  }

  /** All that it has said. */
  get words(): string {
    return this.#words;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Of its first process, as this machine numbers them. */
  get pid(): number {
    const { stdout } = this.runc('state', this.id);
    return (JSON.parse(stdout) as { pid: number }).pid;
  }

  /** Its exit code, when it has ended by itself. */
  async end(): Promise<number | null> {
    if (!this.hasEnded) await once(this.child, 'close');
    return this.child.exitCode;
  }

  /** Asks it to end, as a kubelet does; its exit code. */
  async stop(): Promise<number | null> {
    if (!this.hasEnded) this.runc('kill', this.id, 'TERM');
    const late = setTimeout(() => this.runc('kill', this.id, 'KILL'), stopMs);
    const code = await this.end();
    clearTimeout(late);
    return code;
  }

  private runc(...words: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync('runc', ['--root', join(this.folder, 'runc'), ...words], { encoding: 'utf8' });
  }
}
