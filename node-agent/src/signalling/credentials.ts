/** A node's own certificate, its key and the authorities that it trusts, read from files and read again when they change. */
import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import { ServalError } from '@serval/api';
import { certificateBlocks, certifiedNode } from '@serval/kube-runtime';
import type { NodeName } from '../protocol/messages.js';

/** Paths of PEM files. `ca` may hold several authorities. */
export interface CredentialFiles {
  ca: string;
  cert: string;
  key: string;
}

/** One reading of the files. */
export interface Identity {
  /** what our own certificate says */
  node: NodeName;
  ca: string;
  cert: string;
  key: string;
  authorities: readonly X509Certificate[];
}

/** How often the files are looked at. Polling also sees a Secret's volume, which Kubernetes swaps by a symbolic link. */
const lookMs = 2_000;

export class Credentials {
  private readonly listeners = new Set<(identity: Identity) => void>();
  private stopWatching = (): void => undefined;

  private constructor(
    private readonly files: CredentialFiles,
    private identity: Identity,
  ) {}

  /** @throws ServalError ERR_NOT_FOUND, ERR_CERTIFICATE where the files can not be read or don't fit together */
  static load(files: CredentialFiles): Credentials {
    return new Credentials(files, readIdentity(files));
  }

  get current(): Identity {
    return this.identity;
  }

  /** Called after each change. The returned function ends that. */
  onChange(listener: (identity: Identity) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Reads the files again; true where something had changed. What was read before stays in use when this throws.
   * @throws ServalError as `load`; ERR_WRONG_NODE where the new certificate is of another node
   */
  reload(): boolean {
    const identity = readIdentity(this.files);
    const { ca, cert, key, node } = this.identity;
    if (identity.node !== node)
      throw new ServalError('ERR_WRONG_NODE', {
        subject: this.files.cert,
        reason: `it was issued to ${identity.node}, but this is ${node}`,
        remedy: 'Put the right certificate back; a node is renamed by a restart of its agent',
      });
    if (identity.ca === ca && identity.cert === cert && identity.key === key) return false;
    this.identity = identity;
    for (const listener of this.listeners) listener(identity);
    return true;
  }

  /**
   * Reads the files again whenever they change. Half of a change (a certificate whose key is not there yet) goes to
   * `onError`; the other half is seen as a change again.
   */
  watch(onError: (error: unknown) => void, everyMs = lookMs): void {
    this.close();
    const look = (): void => {
      try {
        this.reload();
      } catch (error) {
        onError(error);
      }
    };
    const paths = Object.values(this.files) as string[];
    for (const path of paths) watchFile(path, { interval: everyMs, persistent: false }, look);
    this.stopWatching = () => {
      for (const path of paths) unwatchFile(path, look);
    };
  }

  /** Ends `watch`. */
  close(): void {
    this.stopWatching();
    this.stopWatching = () => undefined;
  }
}

/** What TLS takes: nothing before 1.3, and no resumed sessions, which would pass by the check of the certificate. */
export function secureContext({ ca, cert, key }: Identity): SecureContextOptions {
  return {
    ca,
    cert,
    key,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function readIdentity(files: CredentialFiles): Identity {
  const [ca, cert, key] = [readText(files.ca), readText(files.cert), readText(files.key)];
  const authorities = parsed(files.ca, () => certificates(ca));
  const own = parsed(files.cert, () => new X509Certificate(cert));
  if (!parsed(files.key, () => own.checkPrivateKey(createPrivateKey(key))))
    throw unusable(files.key, `it is not the key of ${files.cert}`);
  const node = certifiedNode(own.subjectAltName);
  if (node === undefined) throw unusable(files.cert, 'it names no node (spiffe://serval/node/NAME)');
  if (authorities.length === 0) throw unusable(files.ca, 'it holds no certificate');
  return { node, ca, cert, key, authorities };
}

function certificates(text: string): X509Certificate[] {
  return certificateBlocks(text).map((block) => new X509Certificate(block));
}

function parsed<Value>(path: string, parse: () => Value): Value {
  try {
    return parse();
  } catch (cause) {
    throw unusable(path, `it can not be read as PEM (${(cause as Error).message})`);
  }
}

function unusable(path: string, reason: string): ServalError {
  return new ServalError('ERR_CERTIFICATE', {
    subject: path,
    reason,
    remedy: 'Issue the node a certificate and hand out its .crt, its .key and ca.crt together',
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: path,
      reason: `it can not be read (${(cause as Error).message})`,
      remedy: 'Issue the node a certificate, and check the paths in the configuration',
      cause,
    });
  }
}
