/** Several operators at once, started and ended by the test, and which of them leads. */
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { leaseName } from '@serval/operator';
import { OperatorProcess } from './operator-process.js';
import { within } from './within.js';

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

  /** As within.ts has it. @throws Error with all words of operators, too */
  within<Value>(ms: number, what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
    return within(ms, what, ask, () => this.words());
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
