/** One program of the control plane: started, waited for, ended by its own handle. Its words go to a file. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { environment } from '../clients/programs.js';
import { tool } from '../lab/processes.js';

/** A machine that builds something at the same time needs many times the seconds of an idle one. */
const startMs = 90_000;
const stopMs = 15_000;
/** One look whether it is ready: who listens in its place may never answer. */
const checkMs = 5_000;

export class Daemon {
  private failure: Error | undefined;
  private readonly gone = new AbortController();

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
    private readonly log: string,
    /** where in the log the words of this one begin */
    private readonly begin: number,
  ) {
    child.on('error', (error) => (this.failure = error));
    child.on('exit', () => this.gone.abort());
  }

  /** @param folder gets its words, in NAME.log */
  static start(name: string, folder: string, command: readonly string[]): Daemon {
    const log = join(folder, `${name}.log`);
    const begin = existsSync(log) ? statSync(log).size : 0;
    const words = openSync(log, 'a');
    // The kernel kills it when we end, however that happens. It takes the id of setpriv, which becomes the program.
    const child = spawn(tool('setpriv'), ['--pdeathsig', 'KILL', ...command], {
      stdio: ['ignore', words, words],
      env: environment,
    });
    closeSync(words);
    return new Daemon(name, child, log, begin);
  }

  get pid(): number | undefined {
    return this.hasEnded ? undefined : this.child.pid;
  }

  /**
   * Resolves when `check` does; where it rejects, it is asked again. It gives up when its signal says so.
   * @throws ServalError ERR_CONFLICT when somebody else has its port; ERR_KERNEL when it ends, ERR_TIMEOUT when it takes
   *   too long, both with its last words. It has ended then.
   */
  async ready(check: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    const deadline = performance.now() + startMs;
    let cause: unknown;
    while (!this.hasEnded && performance.now() < deadline) {
      const signal = AbortSignal.any([this.gone.signal, AbortSignal.timeout(checkMs)]);
      try {
        await check(signal);
        return;
      } catch (error) {
        cause = error;
      }
      await delay(20);
    }
    const error = this.notReady(cause);
    await this.end('SIGKILL');
    throw error;
  }

  /** It stands still (SIGSTOP), with all that it has open, or goes on (SIGCONT). */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.child.kill(signal);
  }

  /** Resolves when it has ended; it is killed where it does not end in time. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.hasEnded) return;
    const exit = once(this.child, 'exit');
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill('SIGKILL'), stopMs);
    await exit;
    clearTimeout(late);
  }

  private get hasEnded(): boolean {
    const { pid, exitCode, signalCode } = this.child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  private notReady(cause: unknown): ServalError {
    const words = this.lastWords();
    const { exitCode, signalCode } = this.child;
    if (this.hasEnded && words.includes('address already in use'))
      return new ServalError('ERR_CONFLICT', {
        subject: this.name,
        reason: `another program has its port: ${words}`,
        remedy: 'End that one, or start the control plane anew: it picks other ports',
        cause,
      });
    const what = this.hasEnded
      ? `it ended with ${this.failure?.message ?? exitCode ?? signalCode}`
      : `it is not ready after ${startMs / 1000} s (${(cause as Error).message})`;
    return new ServalError(this.hasEnded ? 'ERR_KERNEL' : 'ERR_TIMEOUT', {
      subject: this.name,
      reason: `${what}: ${words}`,
      remedy:
        'See what it says; with SERVAL_KEEP_LOGS=1 its whole log stays in the folder for temporary files',
      cause: this.failure ?? cause,
    });
  }

  private lastWords(): string {
    if (!existsSync(this.log)) return ''; // the control plane was stopped meanwhile
    const words = readFileSync(this.log).subarray(this.begin).toString().trim();
    return words.split('\n').slice(-5).join('\n');
  }
}
