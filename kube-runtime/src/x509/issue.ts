/** Makes authorities, and the certificates that they issue to nodes. */
import { randomBytes, type webcrypto } from 'node:crypto';
import { ServalError } from '@serval/api';
import { nodeUri } from '../node-identity.js';
import { keyPem, newKeys, pemOf, readKey, signingAlgorithm, type Pair } from './keys.js';
import { x509 } from './library.js';

const dayMs = 86_400_000;
const longestMs = 36_500 * dayMs;
/** Clocks of nodes differ: certificates are valid from a little before they were made. */
const backdatedMs = 300_000;

export interface Issue {
  authority: Pair;
  node: string;
  publicKey: webcrypto.CryptoKey;
  /** it is valid for so long, from now on; never longer than the authority */
  ms: number;
}

/** @param ms it is valid for so long. @throws ServalError ERR_BAD_INPUT */
export async function newAuthority(ms: number): Promise<Pair> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(ms),
    // Two authorities of one name could not be told apart by their certificates' issuer.
    name: [{ CN: [`serval authority ${randomBytes(4).toString('hex')}`] }],
    keys,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pemOf([certificate]), key: await keyPem(keys.privateKey) };
}

/** A node's certificate, in PEM. @throws ServalError ERR_BAD_INPUT */
export async function issueCertificate({ authority, node, publicKey, ms }: Issue): Promise<string> {
  const issuer = new x509.X509Certificate(authority.cert);
  const { notAfter, ...rest } = validity(ms);
  const certificate = await x509.X509CertificateGenerator.create({
    ...rest,
    notAfter: notAfter < issuer.notAfter ? notAfter : issuer.notAfter,
    subject: [{ CN: [commonName(node)] }],
    issuer: issuer.subjectName,
    publicKey,
    signingKey: await readKey(authority.key),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: nodeUri(node) }]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return pemOf([certificate]);
}

/** It has 64 characters at most, and is for people: the URI is what counts. */
export function commonName(node: string): string {
  return node.slice(0, 64);
}

function validity(ms: number) {
  if (!(ms > 0 && ms <= longestMs))
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `validity of ${ms / dayMs} days`,
      reason: 'a certificate is valid for more than 0 and at most 36500 days',
      remedy: 'Give another number of days',
    });
  const serial = randomBytes(16);
  // Positive, and no leading zero byte.
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const now = Date.now();
  return {
    serialNumber: serial.toString('hex'),
    // One that lives for seconds would have most of its life behind it.
    notBefore: new Date(now - Math.min(backdatedMs, ms / 4)),
    notAfter: new Date(now + ms),
  };
}
