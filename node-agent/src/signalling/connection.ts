/** One HTTP/2 session to another node, which has proved by its certificate that it is that node. */
import { X509Certificate } from 'node:crypto';
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { ServalError } from '@serval/api';
import { certifiedNode } from '@serval/kube-runtime';
import type { Endpoint } from '../datapath/types.js';
import type { NodeName } from '../protocol/messages.js';
import { secureContext, type Identity } from './credentials.js';
import { certificateFault, certificateFaults, type CertificateFault } from './identity.js';
import { Pings } from './pings.js';
import { connectionWindow, refusedCertificate, maxSessionMemory, settings } from './wire.js';

export interface ConnectionTarget {
  node: NodeName;
  address: Endpoint;
}

export interface ConnectionLimits {
  connectMs: number;
  pingEveryMs: number;
  /** who does not answer a ping in this time is gone */
  pingWithinMs: number;
}

export class Connection {
  /** settles when the session is over, for whatever reason */
  readonly closed: Promise<void>;
  private readonly pings: Pings;
  private retired = false;
  private fault: CertificateFault | undefined;
  private error: Error | undefined;
  private validTo = 0;

  private constructor(
    readonly target: ConnectionTarget,
    private readonly session: ClientHttp2Session,
    limits: ConnectionLimits,
  ) {
    this.pings = new Pings(session, limits);
    this.closed = new Promise((resolve) => session.once('close', resolve));
    void this.closed.then(() => this.pings.stop());
    session.on('error', (error) => (this.error = error as Error));
    session.on('goaway', (code: number, _last: number, data?: Buffer) => {
      if (code !== refusedCertificate) return;
      const fault = data?.toString() ?? '';
      this.fault = Object.hasOwn(certificateFaults, fault) ? (fault as CertificateFault) : 'unusable';
    });
  }

  /** @throws ServalError ERR_UNREACHABLE, ERR_CERTIFICATE (theirs or ours), ERR_WRONG_NODE */
  static async open(
    target: ConnectionTarget,
    identity: Identity,
    limits: ConnectionLimits,
  ): Promise<Connection> {
    const socket = connectTls(tlsOptions(target, identity));
    const createConnection = (): TLSSocket => socket;
    const session = connectHttp2(authority(target), { createConnection, settings, maxSessionMemory });
    const connection = new Connection(target, session, limits);
    socket.setNoDelay(true);
    await connection.ready(limits.connectMs);
    connection.validTo = validTo(socket);
    return connection;
  }

  /** Waits for the other node's settings too: more streams than it allows would be refused. */
  private ready(connectMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.destroy();
        reject(unreachable(this.target, `no connection within ${connectMs} ms`));
      }, connectMs);
      void this.closed.then(() => {
        clearTimeout(late);
        reject(this.failure(this.error));
      });
      this.session.once('connect', () => this.session.setLocalWindowSize(connectionWindow));
      this.session.once('remoteSettings', () => {
        clearTimeout(late);
        resolve();
      });
    });
  }

  /** True where it takes requests, as far as is known. */
  get usable(): boolean {
    const { closed, destroyed } = this.session;
    // A node whose certificate has expired meanwhile has to show another one.
    return !closed && !destroyed && !this.retired && Date.now() <= this.validTo;
  }

  /** @throws ServalError ERR_UNREACHABLE, ERR_CERTIFICATE (ours) */
  request(path: string, headers: Record<string, string | number>): ClientHttp2Stream {
    try {
      const stream = this.session.request({ ':method': 'POST', ':path': path, ...headers });
      // What an error means, `failure` says, which its `close` leads to.
      stream.on('error', () => undefined);
      return stream;
    } catch (cause) {
      throw this.failure(cause);
    }
  }

  /** Settles when the node has answered: it has taken us for who we are. @throws as `request` */
  async proven(): Promise<void> {
    const answered = new Promise<boolean>((resolve) => {
      const sent = !this.session.destroyed && this.session.ping((error) => resolve(error === null));
      if (!sent) resolve(false);
    });
    if (!(await answered)) throw await this.ended();
    // A refusal goes ahead of the answer, but is heard of a little later.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.fault !== undefined || this.session.destroyed) throw this.failure(this.error);
  }

  /** After a stream broke: why. Waits for a moment for the other node's own word. */
  async ended(): Promise<ServalError> {
    await Promise.race([this.closed, new Promise((resolve) => setTimeout(resolve, 20).unref())]);
    return this.failure(this.error);
  }

  /** Asks whether the other end is there at all. */
  doubt(): void {
    this.pings.ping();
  }

  /** Takes no more requests; those under way end. */
  retire(): void {
    this.retired = true;
    this.session.close();
  }

  destroy(): void {
    this.retired = true;
    this.session.destroy();
  }

  private failure(cause: unknown): ServalError {
    if (this.fault === undefined) return connectionError(this.target, cause);
    return certificateError('the certificate of this node', this.fault, {
      reason: `${this.target.node} refused it: ${certificateFaults[this.fault]}`,
      node: this.target.node,
    });
  }
}

function authority({ address: { address, port } }: ConnectionTarget): string {
  return `https://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function tlsOptions({ node, address }: ConnectionTarget, identity: Identity): ConnectionOptions {
  return {
    ...secureContext(identity),
    host: address.address,
    port: address.port,
    ALPNProtocols: ['h2'],
    // Names of hosts say nothing here: a node is who its certificate was issued to.
    servername: '',
    checkServerIdentity: (_host, certificate) => {
      const found = certifiedNode(certificate.subjectaltname);
      return found === node ? undefined : wrongNode({ node, address }, found);
    },
  };
}

function validTo(socket: TLSSocket): number {
  const certificate = socket.getPeerX509Certificate();
  return certificate instanceof X509Certificate ? certificate.validToDate.getTime() : 0;
}

function connectionError(target: ConnectionTarget, error: unknown): ServalError {
  if (error instanceof ServalError) return error;
  const { code = '', message = 'it was closed' } = (error ?? {}) as NodeJS.ErrnoException;
  // OpenSSL's verdicts have names of their own; what Node and the kernel say begins with ERR_ or E.
  if (/^(?:CERT|DEPTH|SELF|UNABLE|INVALID|PATH|HOSTNAME)_/.test(code)) {
    const fault = certificateFault(code);
    return certificateError(`the certificate of node ${target.node}`, fault, {
      reason: `${certificateFaults[fault]} (${code})`,
      node: target.node,
    });
  }
  return unreachable(target, `the connection failed: ${message}`, error);
}

function certificateError(
  subject: string,
  fault: CertificateFault,
  { reason, node }: { reason: string; node: NodeName },
): ServalError {
  return new ServalError('ERR_CERTIFICATE', {
    subject,
    reason,
    remedy: 'Issue that node a new certificate from the authority that all nodes have in their ca.crt',
    details: { fault, node },
  });
}

function wrongNode({ node, address }: ConnectionTarget, found: NodeName | undefined): ServalError {
  return new ServalError('ERR_WRONG_NODE', {
    subject: `node ${node} at ${address.address} port ${address.port}`,
    reason: found === undefined ? 'whoever answers there is no node' : `${found} answers there`,
    remedy: 'Check the address in the ServalNode; it may have been given to another node',
    details: { node, found },
  });
}

export function unreachable(
  { node, address }: ConnectionTarget,
  reason: string,
  cause?: unknown,
): ServalError {
  return new ServalError('ERR_UNREACHABLE', {
    subject: `node ${node} at ${address.address} port ${address.port}`,
    reason,
    remedy: 'Check that its agent runs and that its port can be reached from here',
    cause,
    details: { node },
  });
}
