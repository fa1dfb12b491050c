/** A program in a network namespace that answers each line with one line. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ServalError } from '@serval/api';
import { inside, stop } from '../shell.js';
import type { Workspace } from '../workspace.js';

export class Asked {
  private words = '';
  private readonly lines: AsyncIterator<string>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly command: readonly string[],
    private readonly subject: string,
  ) {
    child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => (this.words = (this.words + text).slice(-1000)));
    child.stdin?.on('error', () => undefined);
    if (child.stdout === null) throw new TypeError('its output is not ours');
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * Resolves when it has said its first line.
   * @param subject what it is, for errors
   * @param cpu it stays there; without, anywhere
   * @throws ServalError where it ends before
   */
  static async start(
    workspace: Workspace,
    netns: string,
    command: readonly string[],
    subject: string,
    cpu?: number,
  ): Promise<Asked> {
    const whole = inside(netns, command, cpu);
    const [program = '', ...args] = whole;
    const child = spawn(program, args, { stdio: 'pipe' });
    workspace.atEnd(() => stop(child));
    const asked = new Asked(child, whole, subject);
    await asked.answer();
    return asked;
  }

  /** @throws ServalError where it has ended */
  async ask(line: string): Promise<string> {
    this.child.stdin?.write(`${line}\n`);
    return this.answer();
  }

  close(): Promise<void> {
    return stop(this.child);
  }

  private async answer(): Promise<string> {
    const next = await this.lines.next();
    if (next.done !== true) return next.value;
    throw new ServalError('ERR_KERNEL', {
      subject: this.subject,
      reason: this.words.trim() || 'it has ended without a word',
      remedy: `Run it by hand: ${this.command.join(' ')}`,
    });
  }
}
