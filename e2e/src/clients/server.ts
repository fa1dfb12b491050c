import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import { ServalError } from '@serval/api';
import { isListening, type Pod } from '../lab/index.js';
import type { PodFolder } from './folder.js';
import { environment } from './programs.js';

const patienceMs = 20_000;

export interface ServerSpec {
  command: string;
  args: readonly string[];
  /** TCP port that it will listen on */
  port: number;
  /** asked again and again until it says true; a rejection counts as false */
  ready: () => boolean | Promise<boolean>;
  /** removed in the end */
  folder?: PodFolder;
  /** what ends it in order; default SIGTERM */
  stopSignal?: NodeJS.Signals;
}

/** A server in a pod, which answers. */
export class Server {
  private log = '';

  private constructor(
    readonly pod: Pod,
    private readonly spec: ServerSpec,
    private readonly child: ChildProcess,
  ) {
    for (const output of [child.stdout, child.stderr])
      output?.setEncoding('utf8').on('data', (text: string) => (this.log = (this.log + text).slice(-4000)));
  }

  /**
   * @throws ServalError ERR_KERNEL with its last words when it ends, or does not answer in 20 s; ERR_CONFLICT when
   *   another one has its port
   */
  static async start(pod: Pod, spec: ServerSpec): Promise<Server> {
    requireFree(pod, spec.port);
    const child = pod.spawn(spec.command, spec.args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const server = new Server(pod, spec, child);
    try {
      await server.answering();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** The program's own pid, as the machine sees it. */
  async pid(): Promise<number> {
    return (await this.pod.processOf(this.child)).pid;
  }

  /** Ends it and removes its files. May be repeated. */
  async stop(): Promise<void> {
    if (!this.ended) {
      const exit = once(this.child, 'exit');
      this.child.kill(this.spec.stopSignal ?? 'SIGTERM');
      await Promise.race([exit, delay(3000, undefined, { ref: false })]);
      if (!this.ended) this.child.kill('SIGKILL');
      await exit;
    }
    this.spec.folder?.remove();
  }

  private get ended(): boolean {
    return this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null;
  }

  private async answering(): Promise<void> {
    let failure: unknown;
    this.child.on('error', (error) => (failure = error));
    const deadline = performance.now() + patienceMs;
    while (!this.ended && failure === undefined && performance.now() < deadline) {
      if (await Promise.resolve(this.spec.ready()).catch(() => false)) return;
      await delay(10);
    }
    const words = this.log.trim().split('\n').slice(-5).join('; ');
    throw new ServalError('ERR_KERNEL', {
      subject: `${this.spec.command} in pod ${this.pod.name}`,
      reason: `${this.ended ? 'it has ended' : 'it does not answer'}: ${words}`,
      remedy: `Start it by hand: ${[this.spec.command, ...this.spec.args].join(' ')}`,
      cause: failure,
    });
  }
}

/**
 * Another server at this port would be taken for the new one.
 * @throws ServalError ERR_CONFLICT when there is one
 */
export function requireFree(pod: Pod, port: number): void {
  if (!isListening(pod, port)) return;
  throw new ServalError('ERR_CONFLICT', {
    subject: `TCP port ${port} in pod ${pod.name}`,
    reason: 'another server listens there',
    remedy: 'Stop it first, or take another port',
  });
}
