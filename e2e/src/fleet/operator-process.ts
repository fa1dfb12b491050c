/** The operator as a program of its own, as its pod would run it. */
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { spawn, type ChildProcess } from 'node:child_process';
import { operatorProgram } from '@serval/operator';

const stopMs = 10_000;

export class OperatorProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly log: string,
  ) {}

  /** @param options beside those about where it is */
  static start(kubeconfig: string, log: string, options: readonly string[]): OperatorProcess {
    const file = openSync(log, 'a');
    const own = ['--kubeconfig', kubeconfig, '--metrics-address', '127.0.0.1', '--metrics-port', '0'];
    const child = spawn(process.execPath, [operatorProgram, ...own, ...options], {
      stdio: ['ignore', file, file],
    });
    closeSync(file);
    return new OperatorProcess(child, log);
  }

  /** Ends it without a word. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.end('SIGTERM');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(late);
  }
}
