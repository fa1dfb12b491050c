/**
 * Pure: which requests for a certificate are approved and signed, and why the others are denied. An agent's word counts for
 * nothing here: which node it speaks for is what the API server has found in its token.
 */
import { ServalError } from '@serval/api';
import { nodeOfUri, signerName } from '@serval/kube-runtime';
import type { RequestFacts } from '@serval/kube-runtime/x509';
import type { SigningRequest } from './kube-types.js';

/** The service account of the agents. */
export interface AgentAccount {
  namespace: string;
  name: string;
}

export interface Policy {
  account: AgentAccount;
  /** no certificate is valid for longer */
  certificateMs: number;
}

export type DenialReason =
  | 'NotAnAgent'
  | 'TokenNotBound'
  | 'Unreadable'
  | 'NotSigned'
  | 'WrongKey'
  | 'WrongNames'
  | 'WrongSubject'
  | 'WrongExtensions'
  | 'OtherNode'
  | 'WrongUsages';

export interface Trouble {
  reason: DenialReason;
  message: string;
}

export type Verdict =
  /** somebody else's, or nothing is left to be done */
  | { do: 'nothing' }
  | ({ do: 'deny' } & Trouble)
  /** somebody has approved what is never signed */
  | ({ do: 'fail' } & Trouble)
  | { do: 'approve'; node: string; message: string }
  | { do: 'sign'; node: string; ms: number };

const podKey = 'authentication.kubernetes.io/pod-name';
const nodeKey = 'authentication.kubernetes.io/node-name';
const usages = ['client auth', 'digital signature', 'server auth'];

/** @param read what its request says, or why that can not be read */
export function judge(request: SigningRequest, read: RequestFacts | ServalError, policy: Policy): Verdict {
  if (!isOpen(request)) return { do: 'nothing' };
  const isApproved = hasCondition(request, 'Approved');
  const found = read instanceof ServalError ? unreadable(read) : nodeOrTrouble(request, read, policy.account);
  if (typeof found !== 'string') return { do: isApproved ? 'fail' : 'deny', ...found };
  if (isApproved) return { do: 'sign', node: found, ms: lifeOf(request, policy) };
  return { do: 'approve', node: found, message: `it is of the agent of node ${found}, for itself` };
}

/** Ours, and undecided or approved without a certificate. */
export function isOpen(request: SigningRequest): boolean {
  if (request.spec.signerName !== signerName) return false;
  if ((request.status?.certificate ?? '') !== '') return false;
  return !hasCondition(request, 'Denied') && !hasCondition(request, 'Failed');
}

export function hasCondition({ status }: SigningRequest, type: string): boolean {
  return status?.conditions?.some((condition) => condition.type === type) ?? false;
}

/** The node that it may have a certificate for. */
function nodeOrTrouble(
  request: SigningRequest,
  facts: RequestFacts,
  account: AgentAccount,
): string | Trouble {
  return (
    strangerIn(request, account) ??
    keyTrouble(facts) ??
    namesTrouble(facts) ??
    usagesTrouble(request) ??
    ownNode(request, facts)
  );
}

function strangerIn({ spec }: SigningRequest, { namespace, name }: AgentAccount): Trouble | undefined {
  const agent = `system:serviceaccount:${namespace}:${name}`;
  if (spec.username !== agent)
    return {
      reason: 'NotAnAgent',
      message: `it was made by ${spec.username ?? 'nobody'}: ${signerName} signs for ${agent} alone`,
    };
  if (spec.extra?.[nodeKey]?.length === 1) return undefined;
  return {
    reason: 'TokenNotBound',
    message:
      spec.extra?.[podKey] === undefined
        ? 'the token is bound to no pod, so that nobody knows which node it speaks for: use the one that is mounted in the agent’s pod'
        : 'the API server does not say on which node the pod of this token is: it does from Kubernetes 1.30 on',
  };
}

function keyTrouble({ key, isSigned }: RequestFacts): Trouble | undefined {
  if (key !== 'P-256')
    return { reason: 'WrongKey', message: `its key is ${key}: keys of nodes are P-256 (ECDSA)` };
  if (!isSigned)
    return { reason: 'NotSigned', message: 'it is not signed by its own key: who asks has to have that' };
  return undefined;
}

function namesTrouble({ names, subject, extensions }: RequestFacts): Trouble | undefined {
  const [name = '', ...others] = names;
  const node = nodeOfUri(name.replace(/^url:/, ''));
  if (node === undefined || others.length > 0 || !name.startsWith('url:'))
    return {
      reason: 'WrongNames',
      message: `it names ${names.length === 0 ? 'nothing' : quoted(names)}: a node has the one name spiffe://serval/node/NAME, a URI`,
    };
  if (subject !== '' && subject !== `CN=${node.slice(0, 64)}`)
    return {
      reason: 'WrongSubject',
      message: `its subject is ${quoted([subject])}: it is the node's name as CN, or empty`,
    };
  if (extensions.length > 0)
    return {
      reason: 'WrongExtensions',
      message: `it asks for the extensions ${quoted(extensions)}: a node has none but its name`,
    };
  return undefined;
}

function usagesTrouble({ spec }: SigningRequest): Trouble | undefined {
  const asked = [...(spec.usages ?? [])].sort();
  if (asked.join() === usages.join()) return undefined;
  return {
    reason: 'WrongUsages',
    message: `its usages are ${quoted(asked)}: a node's are ${quoted(usages)}, no more and no fewer`,
  };
}

function ownNode({ spec }: SigningRequest, { names }: RequestFacts): string | Trouble {
  const [own = ''] = spec.extra?.[nodeKey] ?? [];
  const node = nodeOfUri((names[0] ?? '').replace(/^url:/, '')) ?? '';
  if (node === own) return node;
  return {
    reason: 'OtherNode',
    message: `it names node ${node}, and was made with the token of an agent on node ${own}: an agent asks for its own node alone`,
  };
}

function unreadable({ reason }: ServalError): Trouble {
  return { reason: 'Unreadable', message: reason };
}

function lifeOf({ spec }: SigningRequest, { certificateMs }: Policy): number {
  return Math.min(certificateMs, (spec.expirationSeconds ?? Infinity) * 1_000);
}

/** Of what a stranger has written not everything is repeated. */
function quoted(texts: readonly string[]): string {
  const most = 5;
  const shown = texts.slice(0, most).map((text) => `"${text.slice(0, 100)}"`);
  return shown.join(', ') + (texts.length > most ? ` and ${texts.length - most} more` : '');
}
