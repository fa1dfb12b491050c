/** Pure: when a node asks for a certificate, under which name, and what the answer is worth. */
import type { CredentialFiles } from '../signalling/credentials.js';

/** What is used of Kubernetes' CertificateSigningRequest. */
export interface SigningRequest {
  spec: { request: string };
  status?: {
    conditions?: Array<{ type: string; reason?: string; message?: string }>;
    /** PEM in base64 */
    certificate?: string;
  };
}

/** Of the certificate that is in use. Times are ms since 1970. */
export interface Held {
  from: number;
  until: number;
  /** one of the authorities in ca.crt issued it */
  isTrusted: boolean;
  /** the one that signs now did, which stands first in there */
  isOfFirst: boolean;
}

/** Why a certificate is asked for. */
export type Need = 'absent' | 'expired' | 'notYetValid' | 'untrusted' | 'retiring' | 'due';

export interface Ask {
  why: Need;
  /** ms since 1970 */
  at: number;
}

export interface Drawn {
  now: number;
  /** at this part of its life it is renewed: `renewalPart` */
  part: number;
  /** it is renewed for its authority's sake then; undefined: that has been done */
  retireAt: number | undefined;
}

/** When to ask next. What can't be used is renewed at once. */
export function nextAsk(held: Held | undefined, { now, part, retireAt }: Drawn): Ask {
  if (held === undefined) return { why: 'absent', at: now };
  if (held.until <= now) return { why: 'expired', at: now };
  if (held.from > now) return { why: 'notYetValid', at: now };
  if (!held.isTrusted) return { why: 'untrusted', at: now };
  const due: Ask = { why: 'due', at: held.from + (held.until - held.from) * part };
  if (held.isOfFirst || retireAt === undefined || due.at <= retireAt) return due;
  return { why: 'retiring', at: retireAt };
}

/** Two thirds of its life, a little sooner or later, so that nodes which came together don't come back together. */
export function renewalPart(random: number): number {
  return 2 / 3 + (random - 0.5) * (2 / 15);
}

/** All nodes hear of another authority at the same moment: they come one by one. @param spreadMs within so long, at most */
export function retirementWait({ from, until }: Held, spreadMs: number, random: number): number {
  return Math.min(spreadMs, (until - from) / 10) * random;
}

/** What can be shown to others. */
export function isUsable(held: Held | undefined, now: number): boolean {
  return held !== undefined && uselessness(held, now) === undefined;
}

/** Why it can't be shown to others, in words. */
export function uselessness({ from, until, isTrusted }: Held, now: number): string | undefined {
  if (!isTrusted) return 'it is of an authority that serval-ca does not name yet';
  if (until <= now) return 'it has ended already: see whether the clock of this node is right';
  if (from > now) return 'it is not valid yet: see whether the clock of this node is right';
  return undefined;
}

const mostOfNode = 200;

/** The same for the same node and key, so that a restarted agent asks for what it has asked for. @param key names the public key */
export function requestName(node: string, key: string): string {
  return `serval-${node.slice(0, mostOfNode).replace(/[.-]+$/, '')}-${key}`;
}

export type Answer =
  | { is: 'pending' }
  | { is: 'issued'; certificate: string }
  /** also: it failed, or somebody else has this name */
  | { is: 'refused'; reason: string };

/** @param request what was asked for, in PEM: where something else has this name, that is no answer */
export function answerOf({ spec, status }: SigningRequest, isOurs: (request: string) => boolean): Answer {
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString();
  if (!isOurs(text(spec.request)))
    return { is: 'refused', reason: 'somebody else has a request of this name' };
  const no = status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
  if (no !== undefined)
    return { is: 'refused', reason: `${no.type}, ${no.reason ?? 'without a reason'}: ${no.message ?? ''}` };
  if ((status?.certificate ?? '') === '') return { is: 'pending' };
  return { is: 'issued', certificate: text(status?.certificate ?? '') };
}

/** Files of a folder that has those of all nodes, each by its node's name. */
export function filesOfNode(dir: string, node: string): CredentialFiles {
  return { ca: `${dir}/ca.crt`, cert: `${dir}/${node}.crt`, key: `${dir}/${node}.key` };
}
