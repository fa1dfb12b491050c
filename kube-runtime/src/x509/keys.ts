/** Keys of authorities and nodes: P-256, in PEM (PKCS #8). */
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import { x509 } from './library.js';

export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
export const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };

/** A certificate and its key, in PEM. */
export interface Pair {
  cert: string;
  key: string;
}

export function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
}

export async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

/** A private key with its public one. */
export async function readKeys(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const publicDer = createPublicKey(createPrivateKey(pem)).export({ type: 'spki', format: 'der' });
  const [privateKey, publicKey] = await Promise.all([
    readKey(pem),
    webcrypto.subtle.importKey('spki', publicDer, keyAlgorithm, true, ['verify']),
  ]);
  return { privateKey, publicKey };
}

export function readKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  return webcrypto.subtle.importKey('pkcs8', der ?? new ArrayBuffer(0), keyAlgorithm, false, ['sign']);
}

export function pemOf(certificates: readonly x509.X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString('pem')}\n`).join('');
}

export function certificatesIn(pem: string): x509.X509Certificate[] {
  return x509.PemConverter.decode(pem).map((der) => new x509.X509Certificate(der));
}
