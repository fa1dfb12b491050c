/**
 * Requests for certificates: approves, signs or denies each as rules.ts says, and says why. Told of a request it looks at all
 * of it anew: whoever was killed between the approval and the certificate left one that is approved and waits.
 */
import { webcrypto } from 'node:crypto';
import { ServalError } from '@serval/api';
import { signerName, type Outcome } from '@serval/kube-runtime';
import { statusOf, type KubeClient, type KubeObject } from '@serval/kube-runtime/kubernetes';
import { issueCertificate, readRequest, type Pair } from '@serval/kube-runtime/x509';
import type { RequestCondition, SigningRequest } from './kube-types.js';
import { isOpen, judge, type Policy, type Verdict } from './rules.js';

export interface ToldOfRequest {
  request: SigningRequest;
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/** What became of a request. */
export type Decision = 'approved' | 'signed' | 'denied' | 'failed';

export interface RequestControllerDeps {
  client: Pick<KubeClient, 'request'>;
  /** as a watch keeps them */
  requests: { get(name: string): KubeObject | undefined; take(object: KubeObject): void };
  policy: Policy;
  /** who signs; undefined: not known yet */
  authority: () => Pair | undefined;
  tell: (told: ToldOfRequest) => void;
  decided: (decision: Decision) => void;
  now?: () => Date;
}

const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const [missing, conflict] = [404, 409];
/** Somebody else has written, or the authority is being made. */
const soon: Outcome = { requeueAfterMs: 200 };

export class RequestController {
  constructor(private readonly deps: RequestControllerDeps) {}

  async reconcile(name: string): Promise<Outcome> {
    let request = this.deps.requests.get(name) as SigningRequest | undefined;
    if (request === undefined || !isOpen(request)) return {};
    const read = await readRequest(Buffer.from(request.spec.request, 'base64').toString()).catch(asTrouble);
    const facts = read instanceof ServalError ? read : read.facts;
    try {
      let verdict = judge(request, facts, this.deps.policy);
      if (verdict.do === 'approve') {
        request = await this.approve(request, verdict.message);
        verdict = judge(request, facts, this.deps.policy);
      }
      if (verdict.do === 'deny') await this.refuse(request, verdict);
      if (verdict.do === 'fail') await this.refuse(request, verdict);
      if (verdict.do !== 'sign' || read instanceof ServalError) return {};
      return await this.sign(request, verdict, await read.publicKey());
    } catch (error) {
      if (statusOf(error) === missing) return {};
      if (statusOf(error) === conflict) return soon;
      throw error;
    }
  }

  private async approve(request: SigningRequest, message: string): Promise<SigningRequest> {
    const condition = { type: 'Approved', reason: 'AgentOfItsNode', message };
    const approved = await this.write('approval', request, { conditions: this.with(request, condition) });
    this.decided(approved, 'approved', { type: 'Normal', reason: 'Approved', message });
    return approved;
  }

  private async refuse(
    request: SigningRequest,
    { do: what, reason, message }: Extract<Verdict, { do: 'deny' | 'fail' }>,
  ): Promise<void> {
    const type = what === 'deny' ? 'Denied' : 'Failed';
    const condition = { type, reason, message };
    const subresource = what === 'deny' ? 'approval' : 'status';
    const refused = await this.write(subresource, request, { conditions: this.with(request, condition) });
    const decision = what === 'deny' ? 'denied' : 'failed';
    this.decided(refused, decision, { type: 'Warning', reason: type, message: `${reason}: ${message}` });
  }

  private async sign(
    request: SigningRequest,
    { node, ms }: Extract<Verdict, { do: 'sign' }>,
    publicKey: webcrypto.CryptoKey,
  ): Promise<Outcome> {
    const authority = this.deps.authority();
    if (authority === undefined) return soon;
    const certificate = Buffer.from(await issueCertificate({ authority, node, publicKey, ms }));
    const signed = await this.write('status', request, { certificate: certificate.toString('base64') });
    const message = `node ${node} has a certificate`;
    this.decided(signed, 'signed', { type: 'Normal', reason: 'Signed', message });
    return {};
  }

  /** With the version that was read: what somebody has decided meanwhile stands. */
  private async write(
    subresource: 'approval' | 'status',
    request: SigningRequest,
    change: SigningRequest['status'],
  ): Promise<SigningRequest> {
    // The rules say it already; whatever becomes of them, nobody else's request is written here.
    if (request.spec.signerName !== signerName) throw notOurs(request);
    const answer = await this.deps.client.request<KubeObject>({
      method: 'PUT',
      path: `${collection}/${encodeURIComponent(request.metadata.name)}/${subresource}`,
      body: {
        ...request,
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        status: { ...request.status, ...change },
      },
    });
    this.deps.requests.take(answer);
    return answer as unknown as SigningRequest;
  }

  private with({ status }: SigningRequest, condition: Omit<RequestCondition, 'status'>): RequestCondition[] {
    const now = (this.deps.now?.() ?? new Date()).toISOString();
    const times = { lastUpdateTime: now, lastTransitionTime: now };
    return [...(status?.conditions ?? []), { ...condition, status: 'True', ...times }];
  }

  private decided(request: SigningRequest, decision: Decision, told: Omit<ToldOfRequest, 'request'>): void {
    this.deps.decided(decision);
    this.deps.tell({ request, ...told });
  }
}

function asTrouble(error: unknown): ServalError {
  if (error instanceof ServalError) return error;
  throw error;
}

function notOurs({ metadata, spec }: SigningRequest): ServalError {
  return new ServalError('ERR_CONFLICT', {
    subject: `CertificateSigningRequest ${metadata.name}`,
    reason: `it is for ${spec.signerName}`,
    remedy: 'Leave it to that signer',
  });
}
