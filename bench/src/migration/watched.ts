/** A program of which each line is kept until it is asked for. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';

const patienceMs = 120_000;

export class Watched {
  private lines: string[] = [];
  private rest = '';
  private words = '';
  private closed = false;

  constructor(
    private readonly child: ChildProcess,
    private readonly command: readonly string[],
  ) {
    child.on('close', () => (this.closed = true));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.rest + text).split('\n');
      this.rest = lines.pop() ?? '';
      this.lines.push(...lines);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.words = (this.words + text).slice(-1000);
    });
  }

  /** Whether it has ended: none of these programs does so by itself while all is well. */
  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** What it said since it was last asked. */
  take(): string[] {
    const lines = this.lines;
    this.lines = [];
    return lines;
  }

  /** Resolves when it has said this much. @throws ServalError where it ends, or takes too long */
  async said(what: (lines: readonly string[]) => boolean): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!what(this.lines)) {
      if (this.ended || performance.now() > deadline)
        throw new ServalError('ERR_NOT_FOUND', {
          subject: this.command.join(' '),
          reason: `${this.ended ? 'it has ended' : 'it is still not ready'}: ${this.words.trim() || this.lines.at(-1)}`,
          remedy: 'Start it by hand in such a pod',
        });
      await delay(10);
    }
  }

  /** Resolves when it has ended, and those of its children that share its output: tens of thousands of sockets take long. */
  async kill(): Promise<void> {
    if (!this.ended) this.child.kill('SIGKILL');
    if (!this.closed) await once(this.child, 'close');
  }
}
