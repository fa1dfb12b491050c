import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import { ServalError } from '@serval/api';
import type { NetworkNode } from '../lab/index.js';
import { environment, whoProgram } from './programs.js';

const patienceMs = 20_000;

/** Our Go program as a client that runs until it is stopped, and tells what it meets line by line. */
export class LineClient<Row> {
  /** what it has told until now */
  readonly rows: Row[] = [];
  private readonly child: ChildProcess;
  private readonly ending: Promise<unknown>;
  private words = '';

  constructor(
    node: NetworkNode,
    private readonly args: readonly string[],
  ) {
    const child = node.spawn(whoProgram(), args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    this.ending = once(child, 'close');
    this.ending.catch(() => undefined); // `finished` tells
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.words += text));
    if (child.stdout !== null)
      createInterface({ input: child.stdout }).on('line', (line) => this.rows.push(JSON.parse(line) as Row));
  }

  /**
   * All that it told, once it has ended by itself.
   * @throws ServalError ERR_KERNEL when it could not do its work; attempts that fail are results
   */
  async finished(): Promise<Row[]> {
    await this.ending;
    if (this.child.exitCode === 0) return this.rows;
    throw this.failure(`it ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.words.trim()}`);
  }

  /** Lets it finish what it has begun, and returns all that it told. May be repeated. */
  async stop(): Promise<Row[]> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    return await this.finished();
  }

  /**
   * Resolves when what it told until now is enough.
   * @throws ServalError ERR_KERNEL when it ends before, or that takes over 20 s
   */
  async until(what: string, enough: (rows: readonly Row[]) => boolean): Promise<Row[]> {
    const deadline = performance.now() + patienceMs;
    while (!enough(this.rows)) {
      const ended = this.child.exitCode !== null || this.child.signalCode !== null;
      if (ended || performance.now() > deadline) {
        const last = JSON.stringify(this.rows.at(-1));
        throw this.failure(
          `it was expected ${what}; ${this.words.trim()} it told ${this.rows.length}, at last ${last}`,
        );
      }
      await delay(10);
    }
    return this.rows;
  }

  private failure(reason: string): ServalError {
    return new ServalError('ERR_KERNEL', {
      subject: ['who', ...this.args].join(' '),
      reason,
      remedy: 'See what it says; run it by hand in the same pod',
    });
  }
}
