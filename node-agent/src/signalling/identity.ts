/** Why the certificate at the other end of a connection is refused, and who issued it. */
import type { X509Certificate } from 'node:crypto';

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
