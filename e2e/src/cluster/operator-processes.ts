/** Several operators at once, started and ended by the test, and which of them leads. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { leaseName } from '@serval/operator';
import { OperatorProcess } from './operator-process.js';

const lease = `/apis/coordination.k8s.io/v1/namespaces/default/leases/${leaseName}`;

export class OperatorProcesses {
  private readonly running: OperatorProcess[] = [];

  constructor(
    private readonly client: KubeClient,
    private readonly kubeconfig: string,
  ) {}

  async start(name: string, ...more: string[]): Promise<OperatorProcess> {
    const operator = await OperatorProcess.start({ kubeconfig: this.kubeconfig, name, more });
    this.running.push(operator);
    return operator;
  }

  async endAll(signal: NodeJS.Signals): Promise<void> {
    for (const operator of this.running.splice(0)) await operator.end(signal);
  }

  /** What `ask` tells within so many ms, asked again where it throws. @throws with what kept it, and all words of operators */
  async within<Value>(ms: number, what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
    let last: unknown;
    for (const until = performance.now() + ms; performance.now() < until; await delay(20)) {
      const found = await ask().catch((error: unknown) => void (last = error));
      if (found !== undefined) return found;
    }
    throw new Error(`not within ${ms} ms: ${what} (${String(last)})\n${this.words()}`);
  }

  /** What all of them have said. */
  words(): string {
    return this.running.map((one) => one.words()).join('\n');
  }

  /** Who leads, as the Lease says; empty for nobody. */
  async holder(): Promise<string> {
    const { spec } = await this.client.request<{ spec: { holderIdentity?: string } }>({ path: lease });
    return spec.holderIdentity ?? '';
  }

  async leads({ name }: OperatorProcess): Promise<true | undefined> {
    return (await this.holder()).startsWith(`${name}-`) || undefined;
  }
}
