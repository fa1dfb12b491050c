/** By what a node's certificate names it. Apart from what makes certificates: who only reads names needs no library for that. */

const prefix = 'spiffe://serval/node/';
const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const namePattern = new RegExp(`^${label}(?:\\.${label})*$`);

/** Who signs certificates of agents, as Kubernetes' CertificateSigningRequests name it. */
export const signerName = 'serval.io/agent';
/** The ConfigMap with the certificates of all trusted authorities, the one that signs first, and its key. */
export const authoritiesName = 'serval-ca';
export const authoritiesKey = 'ca.crt';

/** A node's name is a DNS subdomain, as Kubernetes has it: at most 253 characters. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && namePattern.test(text);
}

export function nodeUri(node: string): string {
  return prefix + node;
}

/** The node that this URI names. */
export function nodeOfUri(uri: string): string | undefined {
  if (!uri.startsWith(prefix)) return undefined;
  const node = uri.slice(prefix.length);
  return isNodeName(node) ? node : undefined;
}

/**
 * The node that a certificate was issued to: its one subject alternative name, a URI. Anything else in there, a second
 * name too, makes it no certificate of a node. The common name is for people and does not count.
 */
export function certifiedNode(alternativeNames: string | undefined): string | undefined {
  const uri = 'URI:';
  return alternativeNames?.startsWith(uri) === true
    ? nodeOfUri(alternativeNames.slice(uri.length))
    : undefined;
}

/** Certificates one after the other, in PEM. */
export function certificateBlocks(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}
