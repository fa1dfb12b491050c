/** The operator as a program, beside a control plane: started, asked for its metrics, ended by its own handle. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { operatorProgram } from '@serval/operator';
import { tool } from '../lab/processes.js';
import { freePorts, loopback } from './ports.js';

export interface OperatorProcessOptions {
  /** who it is to the API server */
  kubeconfig: string;
  /** among several; its identity begins so */
  name: string;
  /** further words of its command line */
  more?: readonly string[];
  /** default: as it was built here */
  program?: string;
  /** options of the engine: `--cpu-prof` */
  engine?: readonly string[];
}

export class OperatorProcess {
  private text = '';

  private constructor(
    readonly name: string,
    readonly port: number,
    readonly child: ChildProcess,
  ) {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (words: string) => (this.text += words));
  }

  /** Its Lease is in the namespace `default`. Resolves at once: whether it is ready tells `/readyz`. */
  static async start({
    kubeconfig,
    name,
    more = [],
    engine = [],
    program = operatorProgram,
  }: OperatorProcessOptions): Promise<OperatorProcess> {
    const [port = 0] = await freePorts(1);
    const own = ['--kubeconfig', kubeconfig, '--lease-namespace', 'default', '--identity', name];
    const where = ['--metrics-address', loopback, '--metrics-port', String(port)];
    const command = [...engine, program, ...own, ...where, ...more];
    // The kernel kills it when we end, however that happens. It takes the id of setpriv, which becomes the program.
    const child = spawn(tool('setpriv'), ['--pdeathsig', 'KILL', process.execPath, ...command]);
    return new OperatorProcess(name, port, child);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** All that it has said. */
  words(): string {
    return this.text;
  }

  async page(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://${loopback}:${this.port}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** What its metrics say at the moment. */
  async metrics(): Promise<Metrics> {
    return readMetrics((await this.page('/metrics')).text);
  }

  /** Its exit code, when it has ended. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (!this.hasEnded) {
      const exit = once(this.child, 'exit');
      this.child.kill(signal);
      await exit;
    }
    return this.child.exitCode;
  }
}

/** By name with labels, as the text has them: `serval_operator_queue_depth{controller="services"}`. */
export type Metrics = ReadonlyMap<string, number>;

export function readMetrics(text: string): Metrics {
  const found = text.matchAll(/^([a-z_]+(?:\{[^}]*\})?) (\S+)$/gm);
  return new Map([...found].map(([, name = '', value]) => [name, Number(value)]));
}

/** Of all that have this name, whatever their labels. */
export function sumOf(metrics: Metrics, name: string): number {
  let sum = 0;
  for (const [key, value] of metrics) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}
