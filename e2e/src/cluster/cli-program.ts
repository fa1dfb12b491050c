/** kubectl-serval as it ships: one file, alone in a folder, run as a program. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const root = new URL('../../../', import.meta.url).pathname;
const beside = ['kubectl-serval', 'kubectl_complete-serval'];
const patienceMs = 30_000;

export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

/** One that runs. */
export class CliProcess {
  out = '';
  err = '';

  constructor(private readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.out += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.err += text));
  }

  /** Resolves when it has said this. */
  async says(words: RegExp): Promise<void> {
    for (const until = performance.now() + patienceMs; !words.test(this.out + this.err); await delay(10))
      if (performance.now() > until || this.child.exitCode !== null)
        throw new Error(`it has not said ${String(words)}: ${this.out}${this.err}`);
  }

  interrupt(): void {
    this.child.kill('SIGINT');
  }

  async end(): Promise<Ran> {
    const late = setTimeout(() => this.child.kill('SIGKILL'), patienceMs);
    // 'close', not 'exit': what it said last has been read then.
    if (this.child.exitCode === null || !this.child.stdout?.closed) await once(this.child, 'close');
    clearTimeout(late);
    return { code: this.child.exitCode, out: this.out, err: this.err };
  }
}

export class CliProgram {
  private constructor(
    readonly folder: string,
    private readonly kubeconfig: string,
  ) {}

  /** Bundles it, and copies it to where nothing else is. */
  static make(kubeconfig: string): CliProgram {
    execFileSync(process.execPath, [join(root, 'scripts/bundle-cli.mjs'), '--quiet'], { cwd: root });
    const folder = mkdtempSync(join(tmpdir(), 'serval-cli-'));
    for (const name of beside) copyFileSync(join(root, 'cli/dist-bundle', name), join(folder, name));
    return new CliProgram(folder, kubeconfig);
  }

  get file(): string {
    return join(this.folder, 'kubectl-serval');
  }

  /** Nothing of the repository, nor of whoever runs the test. */
  environment(kubeconfig = this.kubeconfig): Record<string, string> {
    const path = [this.folder, dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter);
    return { PATH: path, HOME: this.folder, KUBECONFIG: kubeconfig };
  }

  start(words: readonly string[], kubeconfig?: string): CliProcess {
    return new CliProcess(
      spawn(this.file, [...words], {
        cwd: this.folder,
        env: this.environment(kubeconfig),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  run(words: readonly string[], kubeconfig?: string): Promise<Ran> {
    return this.start(words, kubeconfig).end();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
