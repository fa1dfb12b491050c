import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { enterArguments } from './namespaces.js';
import { outputOf, tool, type RunOptions } from './processes.js';

/** Anything in the lab that has a network namespace: a router, a host, a pod. */
export class NetworkNode {
  /**
   * @param name as in the lab: core, s1-router, s1-h1, or a pod's
   * @param namespace name for `ip netns`
   * @param netns path of the network namespace
   */
  constructor(
    readonly name: string,
    readonly namespace: string,
    readonly netns: string,
  ) {}

  /** Starts a program in here. The result's `pid` and `kill` are the program's own. */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    return spawn(tool('nsenter'), [...enterArguments(this.netns), '--', command, ...args], options);
  }

  /**
   * Runs a program in here to its end and returns its standard output.
   * @throws ServalError ERR_KERNEL with what it wrote to standard error; `details.exitCode` has its exit code
   */
  async run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
    const { input, ...spawnOptions } = options;
    const child = this.spawn(command, args, { killSignal: 'SIGKILL', ...spawnOptions, stdio: 'pipe' });
    const { stdout } = await outputOf(child, [`[${this.name}]`, command, ...args], input);
    return stdout;
  }
}
