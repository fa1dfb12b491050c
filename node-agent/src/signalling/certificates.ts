/**
 * Makes the cluster's certificate authority and the nodes' certificates. A folder holds `ca.crt`, `ca.key` and, for each
 * node, `NAME.crt` and `NAME.key`. Keys are P-256. `ca.crt` may hold several authorities, the one of `ca.key` first: while
 * an authority is replaced, all nodes have to know both.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { isNodeName } from '@serval/kube-runtime';
import {
  certificatesIn,
  issueCertificate,
  keyPem,
  newAuthority,
  newKeys,
  pemOf,
  type Pair,
} from '@serval/kube-runtime/x509';
import { existsAlready, writeWhole } from './files.js';

const dayMs = 86_400_000;
const [authorityDays, nodeDays] = [3650, 365];

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
  const { days = authorityDays, replace } = options;
  return writePair(dir, 'ca', await newAuthority(days * dayMs), replace);
}

/**
 * First half of a change of authorities: makes a new one, which signs from now on, and keeps the certificates of the old
 * ones. Hand out `ca.crt` to all nodes before any certificate of the new authority is in use.
 * @throws ServalError ERR_NOT_FOUND where there is none yet
 */
export async function rotateAuthority(
  dir: string,
  { days = authorityDays }: Omit<MakeOptions, 'replace'> = {},
): Promise<KeyPairFiles> {
  const old = authorities(dir);
  const { cert, key } = await newAuthority(days * dayMs);
  return writePair(dir, 'ca', { cert: cert + old.join(''), key }, true);
}

/**
 * Second half: drops all authorities but the one that signs. Nodes that read `ca.crt` again refuse what the old ones
 * issued, also on connections that stand.
 */
export function retireAuthorities(dir: string): void {
  const [current] = authorities(dir);
  writeWhole(join(dir, 'ca.crt'), current, { mode: 0o644, replace: true });
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
  const { days = nodeDays, replace } = options;
  const [cert] = authorities(dir);
  const authority = { cert, key: readText(join(dir, 'ca.key')) };
  const { publicKey, privateKey } = await newKeys();
  const issued = await issueCertificate({ authority, node, publicKey, ms: days * dayMs });
  return writePair(dir, node, { cert: issued, key: await keyPem(privateKey) }, replace);
}

/** All authorities of a folder, each in PEM; at least one. */
function authorities(dir: string): [string, ...string[]] {
  const text = readText(join(dir, 'ca.crt'));
  const [first, ...others] = certificatesIn(text).map((certificate) => pemOf([certificate]));
  if (first === undefined)
    throw new ServalError('ERR_BAD_INPUT', {
      subject: join(dir, 'ca.crt'),
      reason: 'it holds no certificate',
      remedy: 'Make an authority in another folder, or restore this one from a backup',
    });
  return [first, ...others];
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

/** The key first: who finds a certificate finds its key. In a replacement readers must check that the two fit. */
function writePair(dir: string, name: string, { cert, key }: Pair, replace = false): KeyPairFiles {
  const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
  // A key without its certificate would not be worth having: look for both before the first is written.
  for (const path of Object.values(files)) if (!replace && existsSync(path)) throw existsAlready(path);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeWhole(files.key, key, { mode: 0o600, replace });
  writeWhole(files.cert, cert, { mode: 0o644, replace });
  return files;
}
