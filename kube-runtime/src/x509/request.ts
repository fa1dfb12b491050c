/** Requests for a node's certificate (PKCS #10): made by agents, read by who signs. */
import { webcrypto } from 'node:crypto';
import { ServalError } from '@serval/api';
import { nodeUri } from '../node-identity.js';
import { commonName } from './issue.js';
import { keyAlgorithm, readKeys, signingAlgorithm } from './keys.js';
import { x509 } from './library.js';

/** What a request says, of which nothing has been believed yet. */
export interface RequestFacts {
  /** of the subject: `CN=node-a` */
  subject: string;
  /** subject alternative names: `url:spiffe://serval/node/node-a` */
  names: string[];
  /** other extensions that are asked for, by their object identifiers */
  extensions: string[];
  /** `P-256`; what else it is, where it is no such key */
  key: string;
  /** by this key: who asks has the private one */
  isSigned: boolean;
}

export interface NodeRequest {
  facts: RequestFacts;
  /** @throws where it is no P-256 key */
  publicKey: () => Promise<webcrypto.CryptoKey>;
}

/** @param key of the node, in PEM. Answers with PEM. */
export async function makeRequest(key: string, node: string): Promise<string> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName(node)] }],
    keys: await readKeys(key),
    signingAlgorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: nodeUri(node) }])],
  });
  return `${request.toString('pem')}\n`;
}

/** @throws ServalError ERR_BAD_INPUT where it is none */
export async function readRequest(pem: string): Promise<NodeRequest> {
  try {
    const blocks = x509.PemConverter.decode(pem);
    const [der] = blocks;
    if (der === undefined || blocks.length > 1) throw new Error(`it holds ${blocks.length} blocks of PEM`);
    const request = new x509.Pkcs10CertificateRequest(der);
    return {
      facts: await factsOf(request),
      publicKey: () =>
        webcrypto.subtle.importKey('spki', request.publicKey.rawData, keyAlgorithm, true, ['verify']),
    };
  } catch (cause) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: 'certificate request',
      reason: `it can not be read (${(cause as Error).message})`,
      remedy: 'Make a PKCS #10 request in PEM',
      cause,
    });
  }
}

async function factsOf(request: x509.Pkcs10CertificateRequest): Promise<RequestFacts> {
  const names: string[] = [];
  const extensions: string[] = [];
  for (const extension of request.extensions)
    if (extension instanceof x509.SubjectAlternativeNameExtension)
      names.push(...extension.names.items.map(({ type, value }) => `${type}:${value}`));
    else extensions.push(extension.type);
  const { name, namedCurve } = request.publicKey.algorithm as { name: string; namedCurve?: string };
  return {
    subject: request.subject,
    names,
    extensions,
    key: namedCurve ?? name,
    isSigned: await request.verify().catch(() => false),
  };
}
