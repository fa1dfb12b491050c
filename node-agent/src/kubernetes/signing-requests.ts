/** A node's requests for certificates at the API server. */
import { statusOf, type KubeClient } from '@serval/kube-runtime/kubernetes';
import type { SigningRequest } from './certificate-rules.js';

const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const usages = ['digital signature', 'server auth', 'client auth'];
const [missing, conflict] = [404, 409];

export class SigningRequests {
  constructor(
    private readonly client: Pick<KubeClient, 'request'>,
    private readonly node: string,
    private readonly signerName: string,
    private readonly signal: AbortSignal,
  ) {}

  /** Undefined where there is none; the API server forgets them after an hour or a day. */
  async read(name: string): Promise<SigningRequest | undefined> {
    const { signal } = this;
    try {
      return await this.client.request<SigningRequest>({ path: `${collection}/${name}`, signal });
    } catch (error) {
      if (statusOf(error) === missing) return undefined;
      throw error;
    }
  }

  /** @param key in PEM; it stays here */
  async submit(name: string, key: string): Promise<void> {
    const { node, signal, signerName } = this;
    // Loaded when it is needed: once in weeks.
    const { makeRequest } = await import('@serval/kube-runtime/x509');
    const request = Buffer.from(await makeRequest(key, node)).toString('base64');
    const body = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name, labels: { 'app.kubernetes.io/name': 'serval' } },
      spec: { request, signerName, usages },
    };
    try {
      await this.client.request({ method: 'POST', path: collection, body, signal });
    } catch (error) {
      // An earlier try whose answer was lost has made it.
      if (statusOf(error) !== conflict) throw error;
    }
  }
}
