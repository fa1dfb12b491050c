/** An API server that has requests for certificates and the ConfigMap of authorities, and a signer that does what a test says. */
import { ServalError } from '@serval/api';
import type { KubeClient, KubeRequest } from '@serval/kube-runtime/kubernetes';
import { issueCertificate, readRequest, type Pair } from '@serval/kube-runtime/x509';
import type { SigningRequest } from './certificate-rules.js';

type Answer = (name: string, request: SigningRequest) => Promise<SigningRequest['status']>;

export class FakeSigner {
  readonly requests = new Map<string, SigningRequest>();
  /** it does not answer at all */
  isDead = false;
  private version = 1;
  private told: (line: string) => void = () => undefined;

  constructor(
    private trusted: string,
    public answer: Answer,
  ) {}

  get client(): KubeClient {
    return {
      request: (request: KubeRequest) => this.request(request),
      lines: (request: KubeRequest & { signal: AbortSignal }) => this.lines(request),
    } as unknown as KubeClient;
  }

  /** As the ConfigMap has it from now on. */
  publish(trusted: string): void {
    this.trusted = trusted;
    this.version++;
    this.told(JSON.stringify({ type: 'MODIFIED', object: this.configMap() }));
  }

  private async request({ method = 'GET', path, body }: KubeRequest): Promise<unknown> {
    if (this.isDead)
      throw new ServalError('ERR_UNREACHABLE', { subject: path, reason: 'it is dead', remedy: 'Wait' });
    if (path.endsWith('/configmaps'))
      return { metadata: { resourceVersion: String(this.version) }, items: [this.configMap()] };
    if (method === 'POST') {
      const made = body as SigningRequest & { metadata: { name: string } };
      this.requests.set(made.metadata.name, made);
      return made;
    }
    const name = path.split('/').at(-1) ?? '';
    const found = this.requests.get(name);
    if (found === undefined)
      throw new ServalError('ERR_NOT_FOUND', {
        subject: path,
        reason: 'there is none',
        remedy: '',
        details: { status: 404 },
      });
    return { ...found, status: await this.answer(name, found) };
  }

  private async *lines({ signal }: { signal: AbortSignal }): AsyncGenerator<string> {
    while (!signal.aborted)
      yield await new Promise<string>((resolve) => {
        this.told = resolve;
        signal.addEventListener('abort', () => resolve(''), { once: true });
      });
  }

  private configMap(): object {
    const metadata = { name: 'serval-ca', namespace: 'sys', uid: 'u', resourceVersion: String(this.version) };
    return { metadata, data: { 'ca.crt': this.trusted } };
  }
}

export function signedBy(authority: Pair, ms: number, node?: string): Answer {
  return async (_, { spec }) => {
    const { facts, publicKey } = await readRequest(Buffer.from(spec.request, 'base64').toString());
    const named = facts.names[0]?.split('/').at(-1) ?? '';
    const issue = { authority, node: node ?? named, publicKey: await publicKey(), ms };
    return { certificate: Buffer.from(await issueCertificate(issue)).toString('base64') };
  };
}
