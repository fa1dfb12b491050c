/** Takes what other nodes' agents say: HTTP/2 over mutual TLS 1.3. It knows who speaks; what to do is its handlers' business. */
import type { X509Certificate } from 'node:crypto';
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ServalError, type ErrorCode } from '@serval/api';
import { certifiedNode } from '@serval/kube-runtime';
import type { NodeName } from '../protocol/messages.js';
import { secureContext, type Credentials, type Identity } from './credentials.js';
import { certificateFault, certificateFaults, issuedBy, type CertificateFault } from './identity.js';
import { answerMessage, type MessageHandler } from './message-route.js';
import { answerImages, type ImagesReceiver } from './images-route.js';
import type { Interfere } from './interference.js';
import { Pings } from './pings.js';
import {
  connectionWindow,
  errorBody,
  refusedCertificate,
  imagesPath,
  jsonType,
  maxSessionMemory,
  messagePath,
  presentable,
  settings,
  version,
} from './wire.js';

export interface ServerLimits {
  /** of one request's body */
  bodyBytes: number;
  /** of all bodies that are on their way in */
  pendingBytes: number;
  streamsPerSession: number;
  /** one more, and the node's oldest one goes: it may be the other half of a connection that died */
  sessionsPerNode: number;
  sessions: number;
  /** a TLS handshake takes at most so long */
  handshakeMs: number;
  /** a request arrives completely within this time */
  bodyMs: number;
  pingEveryMs: number;
  /** who does not answer a ping in this time is gone */
  pingWithinMs: number;
}

export const defaultServerLimits: ServerLimits = {
  bodyBytes: 64 << 20,
  pendingBytes: 256 << 20,
  streamsPerSession: 64,
  sessionsPerNode: 8,
  sessions: 20_000,
  handshakeMs: 5_000,
  bodyMs: 10_000,
  pingEveryMs: 15_000,
  pingWithinMs: 5_000,
};

export interface ServerOptions {
  credentials: Credentials;
  onMessage: MessageHandler;
  /** without it images are refused */
  images?: ImagesReceiver;
  limits?: Partial<ServerLimits>;
  /** for tests only */
  interfere?: Interfere;
}

export interface ServerCounters {
  /** open now */
  sessions: number;
  /** taken since the start: grows quickly where nodes lose each other again and again */
  admitted: number;
  /** certificates that were not taken, by what was wrong with them */
  refusedCertificates: Record<CertificateFault, number>;
  /** connections that did not get as far as a certificate of theirs */
  failedHandshakes: number;
  /** messages handed to the handler */
  messages: number;
  /** requests that were answered with an error, by its code */
  errors: Partial<Record<ErrorCode, number>>;
}

interface Admitted {
  node: NodeName;
  certificate: X509Certificate;
  pings: Pings;
}

/** A refused session stays so long, for its reason to arrive before the connection's end does. */
const farewellMs = 250;

export class SignallingServer {
  private readonly server: Http2SecureServer;
  private readonly limits: ServerLimits;
  private readonly admitted = new Map<ServerHttp2Session, Admitted>();
  /** each in the order in which they came */
  private readonly byNode = new Map<NodeName, Set<ServerHttp2Session>>();
  private readonly all = new Set<ServerHttp2Session>();
  private readonly stopListening: () => void;
  private pendingBytes = 0;
  private readonly counts: Omit<ServerCounters, 'sessions'>;

  constructor(private readonly options: ServerOptions) {
    this.limits = { ...defaultServerLimits, ...options.limits };
    const none = Object.keys(certificateFaults).map((fault) => [fault, 0]);
    this.counts = {
      admitted: 0,
      refusedCertificates: Object.fromEntries(none) as Record<CertificateFault, number>,
      failedHandshakes: 0,
      messages: 0,
      errors: {},
    };
    this.server = createSecureServer({
      ...secureContext(options.credentials.current),
      requestCert: true,
      // Refused in `admit`, where the reason can be counted and told.
      rejectUnauthorized: false,
      handshakeTimeout: this.limits.handshakeMs,
      noDelay: true,
      maxSessionMemory,
      settings: { ...settings, maxConcurrentStreams: this.limits.streamsPerSession },
    });
    this.server.maxConnections = this.limits.sessions;
    this.server.on('session', (session) => this.admit(session));
    this.server.on('stream', (stream, headers) => void this.answer(stream, headers));
    this.server.on('tlsClientError', () => this.counts.failedHandshakes++);
    this.server.on('unknownProtocol', (socket: TLSSocket) => {
      this.counts.failedHandshakes++;
      socket.destroy();
    });
    // Each session and stream ends by itself; its `close` is what counts.
    this.server.on('sessionError', () => undefined);
    this.stopListening = options.credentials.onChange((identity) => this.renew(identity));
  }

  /** @throws ServalError ERR_CONFLICT where the port is taken, ERR_BAD_INPUT, ERR_NO_PERMISSION */
  async listen(at: { address: string; port: number }): Promise<{ address: string; port: number }> {
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(listenError(at, error));
      this.server.once('error', failed);
      this.server.listen({ host: at.address, port: at.port, backlog: 1024 }, () => {
        this.server.off('error', failed);
        resolve();
      });
    });
    const { address, port } = this.server.address() as AddressInfo;
    return { address, port };
  }

  counters(): ServerCounters {
    return { sessions: this.admitted.size, ...structuredClone(this.counts) };
  }

  /** Takes no more connections and requests, lets what was begun end, for at most `graceMs`. */
  async close({ graceMs = 5_000 } = {}): Promise<void> {
    this.stopListening();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of this.all) session.close();
    const impatience = setTimeout(() => {
      for (const session of this.all) session.destroy();
    }, graceMs);
    await closed;
    clearTimeout(impatience);
  }

  /** New connections get the new certificate. Those that stand go on, unless their authority is not trusted any more. */
  private renew(identity: Identity): void {
    this.server.setSecureContext(secureContext(identity));
    for (const [session, { certificate }] of this.admitted)
      if (!issuedBy(certificate, identity.authorities)) this.refuse(session, 'unknownAuthority');
  }

  private admit(session: ServerHttp2Session): void {
    this.all.add(session);
    session.once('close', () => this.gone(session));
    session.on('error', () => undefined);
    const socket = session.socket as TLSSocket;
    const certificate = socket.getPeerX509Certificate();
    const node = certifiedNode(certificate?.subjectAltName);
    if (certificate === undefined) return this.refuse(session, 'absent');
    if (!socket.authorized) return this.refuse(session, certificateFault(verdict(socket)));
    if (node === undefined) return this.refuse(session, 'noNode');
    session.setLocalWindowSize(connectionWindow);
    const pings = new Pings(session, this.limits);
    this.counts.admitted++;
    this.admitted.set(session, { node, certificate, pings });
    const own = this.byNode.get(node) ?? new Set();
    this.byNode.set(node, own.add(session));
    const [oldest] = own;
    if (own.size > this.limits.sessionsPerNode) oldest?.destroy();
  }

  private gone(session: ServerHttp2Session): void {
    this.all.delete(session);
    this.dismiss(session);
  }

  /** What comes on it from now on is not looked at. */
  private dismiss(session: ServerHttp2Session): void {
    const admitted = this.admitted.get(session);
    if (admitted === undefined) return;
    admitted.pings.stop();
    this.admitted.delete(session);
    const own = this.byNode.get(admitted.node);
    own?.delete(session);
    if (own?.size === 0) this.byNode.delete(admitted.node);
  }

  /** Says why, then ends the session. */
  private refuse(session: ServerHttp2Session, fault: CertificateFault): void {
    this.counts.refusedCertificates[fault]++;
    this.dismiss(session);
    session.goaway(refusedCertificate, 0, Buffer.from(fault));
    setTimeout(() => session.destroy(), farewellMs).unref();
  }

  private async answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    stream.on('error', () => undefined);
    const session = stream.session as ServerHttp2Session;
    const admitted = this.admitted.get(session);
    if (admitted === undefined) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    if (admitted.certificate.validToDate.getTime() < Date.now()) return this.refuse(session, 'expired');
    const path = String(headers[':path']);
    try {
      const body = await this.route(stream, headers, { from: admitted.node, path });
      if (stream.destroyed) return;
      stream.respond({ ':status': 200, 'content-type': jsonType, 'content-length': body.length });
      stream.end(body);
    } catch (thrown) {
      this.answerError(stream, presentable(thrown, path));
    }
  }

  private answerError(stream: ServerHttp2Stream, error: ServalError): void {
    this.counts.errors[error.code] = (this.counts.errors[error.code] ?? 0) + 1;
    if (stream.destroyed || stream.headersSent) return;
    const { status, body } = errorBody(error);
    stream.respond({ ':status': status, 'content-type': jsonType, 'content-length': body.length });
    stream.end(body);
    // The rest of a request that was refused does not have to be sent.
    stream.close(constants.NGHTTP2_NO_ERROR);
  }

  private route(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    { from, path }: { from: NodeName; path: string },
  ): Promise<Buffer> {
    const known = headers[':method'] === 'POST' && (path === messagePath || path.startsWith(imagesPath));
    if (!known) throw noSuchPath(path);
    if (path !== messagePath) return answerImages(stream, { from, path, headers }, this.options.images);
    const { bodyBytes, bodyMs } = this.limits;
    return answerMessage(stream, headers, {
      from,
      bodyBytes,
      bodyMs,
      account: (bytes) => this.account(bytes),
      handler: (node, message) => {
        this.counts.messages++;
        return this.options.onMessage(node, message);
      },
      ...(this.options.interfere === undefined ? {} : { interfere: this.options.interfere }),
    });
  }

  /** Refuses a body rather than to run out of memory. */
  private account(bytes: number): void {
    if (bytes > 0 && this.pendingBytes + bytes > this.limits.pendingBytes)
      throw new ServalError('ERR_LIMIT', {
        subject: 'requests that arrive now',
        reason: `together they are longer than ${this.limits.pendingBytes} bytes`,
        remedy: 'Ask again later; move fewer flows at a time',
      });
    this.pendingBytes += bytes;
  }
}

/** OpenSSL's name of what is wrong. Node declares an error there, but it is a text. */
function verdict(socket: TLSSocket): string {
  return String(socket.authorizationError);
}

function noSuchPath(path: string): ServalError {
  const other = /^\/v(\d{1,9})\//.exec(path)?.[1];
  const subject = `request to "${path.slice(0, 100)}"`;
  if (other !== undefined && Number(other) !== version)
    return new ServalError('ERR_UNSUPPORTED', {
      subject,
      reason: `this agent speaks version ${version} of the protocol, not ${other}`,
      remedy: 'Upgrade the older agent; versions next to each other work together',
    });
  return new ServalError('ERR_NOT_FOUND', {
    subject,
    reason: 'there is nothing at this path and method',
    remedy: `POST to ${messagePath} or ${imagesPath}MIGRATION`,
  });
}

function listenError(at: { address: string; port: number }, cause: NodeJS.ErrnoException): ServalError {
  const codes: Record<string, ErrorCode> = { EADDRINUSE: 'ERR_CONFLICT', EACCES: 'ERR_NO_PERMISSION' };
  return new ServalError(codes[cause.code ?? ''] ?? 'ERR_BAD_INPUT', {
    subject: `signalling address ${at.address} port ${at.port}`,
    reason: `it can not be listened on (${cause.code ?? cause.message})`,
    remedy: 'Give an address of this node and a port that nobody else has',
    cause,
  });
}
