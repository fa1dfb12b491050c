/** Pure: what a certificate is, seen from the node that has its key. */
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { certificateBlocks, certifiedNode } from '@serval/kube-runtime';
import { issuedBy } from '../signalling/identity.js';
import type { Held } from './certificate-rules.js';

/**
 * All in PEM. In words where it is no certificate of this node and key.
 * @param ca those that are trusted, the one that signs first
 */
export function heldOf(certificate: string, key: string, node: string, ca: string): Held | string {
  try {
    const own = new X509Certificate(certificate);
    if (!own.checkPrivateKey(createPrivateKey(key))) return 'the certificate is of another key';
    const named = certifiedNode(own.subjectAltName);
    if (named !== node) return `the certificate is of ${named ?? 'no node'}`;
    const authorities = authoritiesIn(ca);
    return {
      from: own.validFromDate.getTime(),
      until: own.validToDate.getTime(),
      isTrusted: issuedBy(own, authorities),
      isOfFirst: issuedBy(own, authorities.slice(0, 1)),
    };
  } catch (error) {
    return `the certificate can not be read (${(error as Error).message})`;
  }
}

/** @throws where one of them can't be read */
export function authoritiesIn(text: string): X509Certificate[] {
  return certificateBlocks(text).map((block) => new X509Certificate(block));
}

/** Whether a request, in PEM, is for this key: its DER holds the public key's. */
export function isOfKey(request: string, key: string): boolean {
  const publicKey = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
  return Buffer.from(request.replace(/-----[^-]+-----|\s/g, ''), 'base64').includes(publicKey);
}
