/** A cluster with the chart in it, an operator that signs as a process, and nodes that keep certificates and talk to each other. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { makeLog } from '@serval/kube-runtime';
import { keepCertificate, type KeptCertificate } from '@serval/node-agent/kubernetes';
import { Credentials, SignallingClient, SignallingServer } from '@serval/node-agent/signalling';
import { operatorProgram } from '@serval/operator';
import { accountClient, accountKubeconfig } from './account-client.js';
import { ControlPlane } from './control-plane.js';
import { chart, Helm } from './helm.js';
import { freePorts, loopback } from './ports.js';
import { within } from './within.js';

export const namespace = 'serval-system';
export const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

export interface SigningRequest {
  metadata: { name: string; resourceVersion: string };
  spec: object;
  status?: {
    certificate?: string;
    conditions?: Array<{ type: string; reason: string; message: string }>;
  };
}

export interface OperatorProcess {
  child: ChildProcess;
  port: number;
  words: () => string;
}

/** What agents wait, so that a test need not. */
const times = {
  firstWaitMs: 100,
  mostWaitMs: 500,
  firstRefusedMs: 1_000,
  mostRefusedMs: 2_000,
  spreadMs: 1_000,
};
const lookMs = 50;

export class CertificateWorld {
  private readonly ends: Array<() => Promise<unknown>> = [];
  private readonly operators: OperatorProcess[] = [];
  private readonly ended = new AbortController();

  private constructor(
    readonly plane: ControlPlane,
    readonly admin: KubeClient,
  ) {}

  static async make(): Promise<CertificateWorld> {
    const plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    const args = ['install', 'serval', chart, '--namespace', namespace, '--create-namespace'];
    const { code, error } = Helm.find().ask(
      [...args, '--set', 'agent.enabled=true'],
      plane.folder,
      kubeconfig,
    );
    if (code !== 0) throw new Error(error);
    return new CertificateWorld(plane, KubeClient.load('serval-test', kubeconfig));
  }

  /** With the chart's account and rights; its times are short where nothing else is said. */
  async operator(...more: string[]): Promise<OperatorProcess> {
    const { plane, admin } = this;
    const kubeconfig = await accountKubeconfig(plane, admin, { namespace, name: 'serval-operator' });
    const [port = 0] = await freePorts(1);
    const child = spawn(process.execPath, [
      operatorProgram,
      ...['--kubeconfig', kubeconfig, '--lease-namespace', namespace, '--identity', 'operator'],
      ...['--metrics-address', loopback, '--metrics-port', String(port)],
      ...['--agent-account', `${namespace}:serval-agent`],
      ...['--certificate-life', '8s', '--authority-notice', '3s', '--authority-life', '1h'],
      ...more,
    ]);
    let words = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (words += text));
    const operator = { child, port, words: () => words };
    this.operators.push(operator);
    return operator;
  }

  async endOperator({ child }: OperatorProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }

  /** With a token that is bound to a pod on this node. */
  async client(name: string, node?: string): Promise<KubeClient> {
    const account = { namespace, name, ...(node === undefined ? {} : { node }) };
    const client = await accountClient(this.plane, this.admin, account);
    this.ends.push(() => client.close());
    return client;
  }

  folder(node: string): string {
    return join(this.plane.folder, `pki-${node}`);
  }

  /** As an agent does; resolves when there is something to be used. */
  async keep(node: string, client?: KubeClient): Promise<KeptCertificate> {
    const kept = await keepCertificate({
      client: client ?? (await this.client('serval-agent', node)),
      node,
      dir: this.folder(node),
      caNamespace: namespace,
      log: makeLog({ level: 'silent', base: {} }),
      signal: this.ended.signal,
      times,
    });
    this.ends.push(() => kept.close());
    return kept;
  }

  async node(name: string): Promise<TestNode> {
    const node = await TestNode.start(name, await this.keep(name));
    this.ends.push(() => node.end());
    return node;
  }

  /** As within.ts has it. @throws Error with all words of operators, too */
  within<Value>(ms: number, what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
    return within(ms, what, ask, () => this.operators.map((operator) => operator.words()).join('\n'));
  }

  /** Its condition of this type, when it has one. */
  condition(
    name: string,
    type: string,
  ): Promise<{ reason: string; message: string; request: SigningRequest }> {
    return this.within(15_000, `${name} is ${type}`, async () => {
      const request = await this.admin.request<SigningRequest>({ path: `${requests}/${name}` });
      const condition = request.status?.conditions?.find((one) => one.type === type);
      return condition && { ...condition, request };
    });
  }

  async end(): Promise<void> {
    this.ended.abort();
    for (const end of this.ends.splice(0).reverse()) await end();
    for (const operator of this.operators) await this.endOperator(operator, 'SIGKILL');
    await this.admin.close();
    await this.plane.stop();
  }
}

/** Who listens and speaks with the certificate that is kept. */
export class TestNode {
  private greetings = 0;

  private constructor(
    readonly name: string,
    readonly kept: KeptCertificate,
    readonly credentials: Credentials,
    private readonly server: SignallingServer,
    private readonly client: SignallingClient,
    private readonly port: number,
  ) {}

  static async start(name: string, kept: KeptCertificate): Promise<TestNode> {
    const credentials = Credentials.load(kept.files);
    credentials.watch(() => undefined, lookMs);
    const onMessage = (): Promise<{ ok: true }> => Promise.resolve({ ok: true });
    const server = new SignallingServer({ credentials, onMessage });
    const { port } = await server.listen({ address: loopback, port: 0 });
    return new TestNode(name, kept, credentials, server, new SignallingClient({ credentials }), port);
  }

  /** By mutual TLS, on the connection that stands, now and then on a new one. @throws where either refuses the other */
  async greet(other: TestNode): Promise<void> {
    const message = { kind: 'abort', migration: '0123456789abcdef' } as const;
    const address = { address: loopback, port: other.port };
    await this.client.request(other.name, address, message);
    // A server ends the oldest of many connections of one node, which here would be the one that stands.
    if (this.greetings++ % 20 !== 0) return;
    const another = new SignallingClient({ credentials: this.credentials });
    await another.request(other.name, address, message).finally(() => another.close());
  }

  get refusedCertificates(): number {
    return Object.values(this.server.counters().refusedCertificates).reduce((sum, count) => sum + count, 0);
  }

  async end(): Promise<void> {
    this.client.close();
    this.credentials.close();
    await this.server.close({ graceMs: 0 });
  }
}
