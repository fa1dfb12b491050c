/** The operator as a program: some of it at once, started and ended by the test. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { leaseName, operatorProgram } from '@serval/operator';
import { freePorts, loopback } from './ports.js';

export interface OperatorProcess {
  name: string;
  port: number;
  child: ChildProcess;
  words: () => string;
}

const lease = `/apis/coordination.k8s.io/v1/namespaces/default/leases/${leaseName}`;

export class OperatorProcesses {
  private readonly running: OperatorProcess[] = [];

  constructor(
    private readonly client: KubeClient,
    private readonly kubeconfig: string,
  ) {}

  async start(name: string, ...more: string[]): Promise<OperatorProcess> {
    const [port = 0] = await freePorts(1);
    const own = ['--kubeconfig', this.kubeconfig, '--lease-namespace', 'default', '--identity', name];
    const where = ['--metrics-address', loopback, '--metrics-port', String(port)];
    const child = spawn(process.execPath, [operatorProgram, ...own, ...where, ...more]);
    let words = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (words += text));
    const operator = { name, port, child, words: () => words };
    this.running.push(operator);
    return operator;
  }

  /** Resolves with its exit code when it has ended. */
  async end({ child }: OperatorProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    }
    return child.exitCode;
  }

  async endAll(signal: NodeJS.Signals): Promise<void> {
    for (const operator of this.running.splice(0)) await this.end(operator, signal);
  }

  /** What `ask` tells within so many ms, asked again where it throws. @throws with what kept it, and all words of operators */
  async within<Value>(ms: number, what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
    let last: unknown;
    for (const until = performance.now() + ms; performance.now() < until; await delay(20)) {
      const found = await ask().catch((error: unknown) => void (last = error));
      if (found !== undefined) return found;
    }
    const words = this.running.map((one) => one.words()).join('\n');
    throw new Error(`not within ${ms} ms: ${what} (${String(last)})\n${words}`);
  }

  /** Who leads, as the Lease says; empty for nobody. */
  async holder(): Promise<string> {
    const { spec } = await this.client.request<{ spec: { holderIdentity?: string } }>({ path: lease });
    return spec.holderIdentity ?? '';
  }

  async leads({ name }: OperatorProcess): Promise<true | undefined> {
    return (await this.holder()).startsWith(`${name}-`) || undefined;
  }

  async page({ port }: OperatorProcess, path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://${loopback}:${port}${path}`);
    return { status: response.status, text: await response.text() };
  }
}
