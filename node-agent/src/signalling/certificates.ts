/**
 * Makes the cluster's certificate authority and the nodes' certificates. A folder holds `ca.crt`, `ca.key` and, for each
 * node, `NAME.crt` and `NAME.key`. Keys are P-256. `ca.crt` may hold several authorities, the one of `ca.key` first: while
 * an authority is replaced, all nodes have to know both.
 */
// The X.509 library needs this before itself.
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { ServalError } from '@serval/api';
import { existsAlready, writeWhole } from './files.js';
import { isNodeName, nodeUri } from './identity.js';

const dayMs = 86_400_000;
/** Clocks of nodes differ: certificates are valid from a little before they were made. */
const backdatedMs = 300_000;
const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };

export interface MakeOptions {
  /** how long it is valid; default: ten years for an authority, a year for a node */
  days?: number;
  /** write over what is there already; default false */
  replace?: boolean;
}

/** Paths of what was written. */
export interface KeyPairFiles {
  cert: string;
  key: string;
}

/**
 * Makes an authority in this folder, which is made where it is missing.
 * @throws ServalError ERR_CONFLICT where there is one; ERR_BAD_INPUT
 */
export async function makeAuthority(dir: string, options: MakeOptions = {}): Promise<KeyPairFiles> {
  const { certificate, key } = await newAuthority(options);
  return writePair(dir, 'ca', { certificates: [certificate], key, replace: options.replace });
}

/**
 * First half of a change of authorities: makes a new one, which signs from now on, and keeps the certificates of the old
 * ones. Hand out `ca.crt` to all nodes before any certificate of the new authority is in use.
 * @throws ServalError ERR_NOT_FOUND where there is none yet
 */
export async function rotateAuthority(
  dir: string,
  options: Omit<MakeOptions, 'replace'> = {},
): Promise<KeyPairFiles> {
  const old = authorities(dir);
  const { certificate, key } = await newAuthority(options);
  return writePair(dir, 'ca', { certificates: [certificate, ...old], key, replace: true });
}

/**
 * Second half: drops all authorities but the one that signs. Nodes that read `ca.crt` again refuse what the old ones
 * issued, also on connections that stand.
 */
export function retireAuthorities(dir: string): void {
  const [current] = authorities(dir);
  writeWhole(join(dir, 'ca.crt'), pem([current]), { mode: 0o644, replace: true });
}

/**
 * Issues a certificate to a node, signed by this folder's authority.
 * @throws ServalError ERR_BAD_INPUT, ERR_NOT_FOUND without an authority, ERR_CONFLICT where the node has one already
 */
export async function issueNode(dir: string, node: string, options: MakeOptions = {}): Promise<KeyPairFiles> {
  if (!isNodeName(node) || node === 'ca')
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `node name "${node.slice(0, 300)}"`,
      reason: 'it is no DNS subdomain, or it is "ca", whose files are the authority\'s',
      remedy: 'Use lower-case letters, digits, "-" and ".", at most 253 characters',
    });
  const [authority] = authorities(dir);
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity(options.days ?? 365),
    // A common name has 64 characters at most; it is for people, the URI is what counts.
    subject: [{ CN: [node.slice(0, 64)] }],
    issuer: authority.subjectName,
    publicKey: keys.publicKey,
    signingKey: await readKey(dir),
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: nodeUri(node) }]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return writePair(dir, node, {
    certificates: [certificate],
    key: keys.privateKey,
    replace: options.replace,
  });
}

async function newAuthority(options: MakeOptions) {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(options.days ?? 3650),
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
  return { certificate, key: keys.privateKey };
}

function newKeys() {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
}

function validity(days: number) {
  if (!(days > 0 && days <= 36_500))
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `validity of ${days} days`,
      reason: 'a certificate is valid for more than 0 and at most 36500 days',
      remedy: 'Give another number of days',
    });
  const serial = randomBytes(16);
  // Positive, and no leading zero byte.
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const now = Date.now();
  return {
    serialNumber: serial.toString('hex'),
    notBefore: new Date(now - backdatedMs),
    notAfter: new Date(now + days * dayMs),
  };
}

/** All authorities of a folder; at least one. */
function authorities(dir: string): [x509.X509Certificate, ...x509.X509Certificate[]] {
  const text = readText(join(dir, 'ca.crt'));
  const [first, ...others] = x509.PemConverter.decode(text).map((der) => new x509.X509Certificate(der));
  if (first === undefined)
    throw new ServalError('ERR_BAD_INPUT', {
      subject: join(dir, 'ca.crt'),
      reason: 'it holds no certificate',
      remedy: 'Make an authority in another folder, or restore this one from a backup',
    });
  return [first, ...others];
}

async function readKey(dir: string) {
  const [der] = x509.PemConverter.decode(readText(join(dir, 'ca.key')));
  return webcrypto.subtle.importKey('pkcs8', der ?? new ArrayBuffer(0), keyAlgorithm, false, ['sign']);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: path,
      reason: `it can not be read (${(cause as Error).message})`,
      remedy: 'Make an authority in this folder first',
      cause,
    });
  }
}

interface Pair {
  certificates: x509.X509Certificate[];
  key: webcrypto.CryptoKey;
  replace: boolean | undefined;
}

/** The key first: who finds a certificate finds its key. In a replacement readers must check that the two fit. */
async function writePair(dir: string, name: string, pair: Pair): Promise<KeyPairFiles> {
  const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
  const replace = pair.replace ?? false;
  // A key without its certificate would not be worth having: look for both before the first is written.
  for (const path of Object.values(files)) if (!replace && existsSync(path)) throw existsAlready(path);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const der = await webcrypto.subtle.exportKey('pkcs8', pair.key);
  writeWhole(files.key, `${x509.PemConverter.encode(der, 'PRIVATE KEY')}\n`, { mode: 0o600, replace });
  writeWhole(files.cert, pem(pair.certificates), { mode: 0o644, replace });
  return files;
}

function pem(certificates: x509.X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString('pem')}\n`).join('');
}
