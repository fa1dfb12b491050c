/** Who is at the other end of a connection: the node name in a verified certificate. */
import type { X509Certificate } from 'node:crypto';
import type { NodeName } from '../protocol/messages.js';

const prefix = 'spiffe://serval/node/';
const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const namePattern = new RegExp(`^${label}(?:\\.${label})*$`);

/** A node's name is a DNS subdomain, as Kubernetes has it: at most 253 characters. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && namePattern.test(text);
}

export function nodeUri(node: NodeName): string {
  return prefix + node;
}

/**
 * The node that a certificate was issued to: its one subject alternative name, a URI. Anything else in there, a second
 * name too, makes it no certificate of a node. The common name is for people and does not count.
 */
export function certifiedNode(alternativeNames: string | undefined): NodeName | undefined {
  const uri = `URI:${prefix}`;
  if (alternativeNames?.startsWith(uri) !== true) return undefined;
  const node = alternativeNames.slice(uri.length);
  return isNodeName(node) ? node : undefined;
}

/** Why a certificate is refused. Stable names: counters have them as labels. */
export const certificateFaults = {
  absent: 'no certificate was shown',
  expired: 'the certificate has expired',
  notYetValid: 'the certificate is not valid yet',
  selfMade: 'the certificate was signed by nobody but itself',
  unknownAuthority: 'the certificate was not issued by an authority of this cluster',
  noNode: 'the certificate names no node',
  unusable: 'the certificate can not be used',
} as const;

export type CertificateFault = keyof typeof certificateFaults;

const faults: Record<string, CertificateFault> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'notYetValid',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'selfMade',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknownAuthority',
  UNABLE_TO_GET_ISSUER_CERT: 'unknownAuthority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknownAuthority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknownAuthority',
  CERT_SIGNATURE_FAILURE: 'unknownAuthority',
};

/** From OpenSSL's verdict, as Node names it, to ours. */
export function certificateFault(code: string): CertificateFault {
  return faults[code] ?? 'unusable';
}

/** True where one of these authorities issued this certificate. */
export function issuedBy(certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean {
  return authorities.some(
    (authority) => certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
}
