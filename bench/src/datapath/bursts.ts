/** Transfers over connections that stay: a process with them in the client's namespace, asked by lines. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ServalError } from '@serval/api';
import { inside, stop } from '../shell.js';
import type { Workspace } from '../workspace.js';
import { throughputPort, type Variant } from './variants.js';

const program = new URL('../../src/datapath/programs/bursts.py', import.meta.url).pathname;
/** Where Debian has it. */
const python = '/usr/bin/python3';

export const burstServer: readonly string[] = [python, program, 'server', String(throughputPort)];

export class Bursts {
  private constructor(
    private readonly child: ChildProcess,
    private readonly ask: (line: string) => void,
    private readonly answer: () => Promise<string>,
  ) {}

  /** Resolves when its connections are established. @throws ServalError ERR_KERNEL where they are not */
  static async connect(
    workspace: Workspace,
    { name, client, target }: Variant,
    streams: number,
    cpu: number,
  ): Promise<Bursts> {
    const command = [python, program, 'client', target, String(throughputPort), String(streams)];
    const [file = '', ...args] = inside(client, command, cpu);
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    workspace.atEnd(() => stop(child));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answer = async (): Promise<string> => {
      const { value, done } = await lines.next();
      if (done !== true) return value;
      throw new ServalError('ERR_KERNEL', {
        subject: command.join(' '),
        reason: `the client of "${name}" has ended`,
        remedy: 'See what it says above',
      });
    };
    await answer();
    return new Bursts(child, (line) => void child.stdin.write(`${line}\n`), answer);
  }

  /** Gigabits per second of one burst. */
  async send(bytes: number): Promise<number> {
    this.ask(String(bytes));
    return (bytes * 8) / Number(await this.answer()) / 1e9;
  }

  /** Its connections are gone. */
  close(): Promise<void> {
    return stop(this.child);
  }
}
