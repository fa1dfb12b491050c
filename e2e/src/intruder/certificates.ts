/** Certificates that an intruder may have: right ones of other nodes, and every kind that must be refused. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { servald } from '../fleet/index.js';
import { run, tool } from '../lab/processes.js';

/** Paths of PEM files; none: no certificate is shown. */
export interface KeyPair {
  cert?: string;
  key?: string;
}

/** By the reason under which servers refuse them; `twoNames` counts as `noNode`. */
export type Flaw =
  'absent' | 'expired' | 'notYetValid' | 'selfMade' | 'unknownAuthority' | 'noNode' | 'twoNames' | 'unusable';

const dayMs = 86_400_000;

/** Each says that it is of `node`, where it says anything. @param authority folder of the cluster's own authority */
export async function flawedCertificates(
  folder: string,
  authority: string,
  node: string,
): Promise<Record<Flaw, KeyPair>> {
  const at = (name: string): string => {
    mkdirSync(join(folder, name), { recursive: true });
    return join(folder, name);
  };
  const uri = (name: string): string => `URI:spiffe://serval/node/${name}`;
  return {
    absent: {},
    expired: await issuedAt(-2 * dayMs, at('expired'), authority, node),
    notYetValid: await issuedAt(dayMs, at('notYetValid'), authority, node),
    selfMade: await selfSigned(at('selfMade'), node, uri(node)),
    unknownAuthority: await ofOtherAuthority(at('unknownAuthority'), node),
    noNode: await signed(at('noNode'), authority, node, `DNS:${node}`),
    twoNames: await signed(at('twoNames'), authority, node, `${uri('somebody')},${uri(node)}`),
    // The authority's own: trusted, but not made for connections.
    unusable: { cert: join(authority, 'ca.crt'), key: join(authority, 'ca.key') },
  };
}

/** What `servald certs` does at another time than now. It is valid for a day. */
async function issuedAt(offsetMs: number, folder: string, authority: string, node: string): Promise<KeyPair> {
  const clock = `const now = Date.now; Date.now = () => now() + ${offsetMs};`;
  for (const file of ['ca.crt', 'ca.key']) await run(tool('cp'), [join(authority, file), join(folder, file)]);
  await run(process.execPath, [
    `--import=data:text/javascript,${encodeURIComponent(clock)}`,
    ...[servald, 'certs', 'issue', folder, node, '--days', '1'],
  ]);
  return pairOf(folder, node);
}

async function ofOtherAuthority(folder: string, node: string): Promise<KeyPair> {
  await run(process.execPath, [servald, 'certs', 'init', folder]);
  await run(process.execPath, [servald, 'certs', 'issue', folder, node]);
  return pairOf(folder, node);
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

async function selfSigned(folder: string, node: string, names: string): Promise<KeyPair> {
  const { cert = '', key = '' } = pairOf(folder, node);
  const subject = ['-subj', `/CN=${node}`, '-addext', `subjectAltName=${names}`];
  await run(tool('openssl'), ['req', '-x509', ...newKey, ...subject, '-keyout', key, '-out', cert]);
  return { cert, key };
}

/** By the cluster's authority, but with names that `servald certs` does not give. */
async function signed(folder: string, authority: string, node: string, names: string): Promise<KeyPair> {
  const { cert = '', key = '' } = pairOf(folder, node);
  const request = join(folder, 'request.pem');
  const extensions = join(folder, 'extensions');
  writeFileSync(extensions, `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`);
  await run(tool('openssl'), ['req', ...newKey, '-subj', `/CN=${node}`, '-keyout', key, '-out', request]);
  const authorityFiles = ['-CA', join(authority, 'ca.crt'), '-CAkey', join(authority, 'ca.key')];
  await run(tool('openssl'), [
    ...['x509', '-req', '-in', request, ...authorityFiles, '-CAcreateserial'],
    ...['-extfile', extensions, '-out', cert],
  ]);
  return { cert, key };
}

function pairOf(folder: string, node: string): KeyPair {
  return { cert: join(folder, `${node}.crt`), key: join(folder, `${node}.key`) };
}
