/** Asks other nodes' agents. One connection to each is kept; a request is tried once: asking again is the protocol's. */
import { constants, type ClientHttp2Stream } from 'node:http2';
import { ServalError } from '@serval/api';
import type { Endpoint } from '../datapath/types.js';
import type { MigrationId, NodeName } from '../protocol/messages.js';
import { decodeReply, encodeMessage } from './codec.js';
import type { Connection } from './connection.js';
import type { Credentials } from './credentials.js';
import { totalHeader } from './images-route.js';
import { listImages, writeImages, writeTo } from './images-send.js';
import { interfered, type Interfere } from './interference.js';
import type { AnyKind, AnyMessage, AnyReply } from './kinds.js';
import { Peer, type PeerLimits } from './peer.js';
import { badAnswer, imagesPath, jsonType, messagePath, readBody, receivedError } from './wire.js';

export interface ClientLimits extends PeerLimits {
  /** of one reply */
  replyBytes: number;
  /** images that make no progress for so long are given up */
  stallMs: number;
}

export const defaultClientLimits: ClientLimits = {
  connectMs: 3_000,
  pingEveryMs: 10_000,
  pingWithinMs: 3_000,
  backoffMs: 20,
  backoffMaxMs: 1_000,
  idleMs: 300_000,
  replyBytes: 64 << 20,
  stallMs: 10_000,
};

export interface ClientOptions {
  credentials: Credentials;
  limits?: Partial<ClientLimits>;
  /** for tests only */
  interfere?: Interfere;
}

/** What a transfer carried and what it took. */
export interface ImagesSent {
  transferMs: number;
  files: number;
  bytes: number;
}

export interface ImagesOptions {
  /** names of files that stay, beside logs and statistics */
  exclude?: RegExp;
  /** tells several folders of one migration apart */
  part?: string;
  signal?: AbortSignal;
}

const defaultTimeoutMs = 5_000;
const tidyMs = 10_000;

export class SignallingClient {
  private readonly limits: ClientLimits;
  private readonly peers = new Map<NodeName, Peer>();
  /** Images have connections of their own: a message does not wait behind a gigabyte. */
  private readonly carriers = new Map<NodeName, Peer>();
  private readonly stopRenewing: () => void;
  private readonly tidying: NodeJS.Timeout;
  private closed = false;

  constructor(private readonly options: ClientOptions) {
    this.limits = { ...defaultClientLimits, ...options.limits };
    this.stopRenewing = options.credentials.onChange(() => {
      for (const peer of [...this.peers.values(), ...this.carriers.values()]) peer.renew();
    });
    this.tidying = setInterval(() => this.tidy(), tidyMs).unref();
  }

  /**
   * Asks once, and hands back what the other agent's protocol says, refusals too.
   * @throws ServalError ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CERTIFICATE (theirs or ours, see `subject`), ERR_WRONG_NODE,
   * ERR_BAD_ANSWER; and the error that the other agent answered with (ERR_BAD_INPUT, ERR_LIMIT, ERR_UNSUPPORTED, ...)
   */
  async request<Kind extends AnyKind>(
    node: NodeName,
    address: Endpoint,
    message: Extract<AnyMessage, { kind: Kind }>,
    { timeoutMs = defaultTimeoutMs }: { timeoutMs?: number } = {},
  ): Promise<AnyReply<Kind>> {
    const attempt = new Attempt(node, message.kind, timeoutMs);
    const ask = async (): Promise<AnyReply<Kind>> => {
      const connecting = this.peer(this.peers, node, address).connection(address, attempt.leftMs());
      const connection = connecting instanceof Promise ? await connecting : connecting;
      if (attempt.over) throw attempt.late();
      return exchange(connection, message, { attempt, replyBytes: this.limits.replyBytes });
    };
    const mishap = this.options.interfere?.({ node, kind: message.kind });
    return attempt.within(mishap === undefined ? ask() : interfered(mishap, ask));
  }

  /** Connects, so that the next request does not have to; the node has then also taken our certificate. @throws as `request` */
  async warm(node: NodeName, address: Endpoint, { timeoutMs = defaultTimeoutMs } = {}): Promise<void> {
    const attempt = new Attempt(node, 'connection', timeoutMs);
    const connect = async (): Promise<void> => {
      const connection = await this.peer(this.peers, node, address).connection(address, timeoutMs);
      await connection.proven();
    };
    await attempt.within(connect());
  }

  /**
   * Sends the files of a folder. They stand complete and checked in the target's folder when this settles, or not at all.
   * @throws ServalError as `request`; ERR_MOVER where a file can not be read; of the target: ERR_NO_SPACE, ERR_CHECKSUM,
   * ERR_LIMIT, and what refuses the images
   */
  async sendImages(
    node: NodeName,
    address: Endpoint,
    migration: MigrationId,
    dir: string,
    options: ImagesOptions = {},
  ): Promise<ImagesSent> {
    const start = performance.now();
    const list = await listImages(dir, options.exclude);
    const peer = this.peer(this.carriers, node, address);
    const connection = await peer.connection(address, this.limits.connectMs);
    options.signal?.throwIfAborted();
    const path = `${imagesPath}${migration}${options.part === undefined ? '' : `/${options.part}`}`;
    const stream = connection.request(path, { [totalHeader]: list.bytes });
    const cancel = (): void => stream.close(constants.NGHTTP2_CANCEL);
    options.signal?.addEventListener('abort', cancel);
    let stalled = false;
    stream.setTimeout(this.limits.stallMs, () => {
      stalled = true;
      cancel();
    });
    // The target may answer, with an error, before all is sent: then the rest is not sent.
    const answered = answer(connection, stream, this.limits.replyBytes);
    const written = writeImages(list, writeTo(stream)).then(() => stream.end());
    try {
      await Promise.race([answered, written.then(() => answered)]);
      await written;
      return { transferMs: performance.now() - start, files: list.files.length, bytes: list.bytes };
    } catch (error) {
      cancel();
      // What ended so may have met a cut path. There TCP goes on with pauses of seconds, and the ping that is waited for
      // ends the connection when it already carries the next move's images (faults-cut: 5 s while moving).
      connection.retire();
      options.signal?.throwIfAborted();
      if (stalled) throw timedOut(node, 'images', this.limits.stallMs);
      // Where the writing failed because the stream was closed, the answer says why.
      throw error instanceof ServalError
        ? error
        : await answered.then(
            () => error,
            (reason: unknown) => reason,
          );
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      written.catch(() => undefined);
      answered.catch(() => undefined);
    }
  }

  /** Ends all connections; requests under way fail. */
  close(): void {
    this.closed = true;
    clearInterval(this.tidying);
    this.stopRenewing();
    for (const peer of [...this.peers.values(), ...this.carriers.values()]) peer.close();
  }

  private peer(peers: Map<NodeName, Peer>, node: NodeName, address: Endpoint): Peer {
    if (this.closed)
      throw new ServalError('ERR_UNREACHABLE', {
        subject: `node ${node}`,
        reason: 'signalling was closed here',
        remedy: 'Ask again when the agent has been restarted',
      });
    const known = peers.get(node) ?? new Peer(node, address, this.options.credentials, this.limits);
    peers.set(node, known);
    return known;
  }

  private tidy(): void {
    for (const peers of [this.peers, this.carriers])
      for (const [node, peer] of peers) if (peer.tidy()) peers.delete(node);
  }
}

/** One request's time. Whoever waits for something else too looks at `over`. */
class Attempt {
  over = false;
  private readonly until: number;
  private stop = (): void => undefined;

  constructor(
    private readonly node: NodeName,
    private readonly what: string,
    private readonly timeoutMs: number,
  ) {
    this.until = performance.now() + timeoutMs;
  }

  leftMs(): number {
    return this.until - performance.now();
  }

  /** Called when the time is over. */
  onOver(stop: () => void): void {
    this.stop = stop;
  }

  late(): ServalError {
    return timedOut(this.node, this.what, this.timeoutMs);
  }

  async within<Value>(work: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.over = true;
        reject(this.late());
        this.stop();
      }, this.timeoutMs);
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}

async function exchange<Kind extends AnyKind>(
  connection: Connection,
  message: Extract<AnyMessage, { kind: Kind }>,
  { attempt, replyBytes }: { attempt: Attempt; replyBytes: number },
): Promise<AnyReply<Kind>> {
  const body = encodeMessage(message);
  const stream = connection.request(messagePath, {
    'content-type': jsonType,
    'content-length': body.length,
  });
  attempt.onOver(() => {
    stream.close(constants.NGHTTP2_CANCEL);
    // Is it slow, or is it gone?
    connection.doubt();
  });
  stream.end(body);
  const reply = await answer(connection, stream, replyBytes);
  try {
    return decodeReply<Kind>(message.kind, reply);
  } catch (cause) {
    throw badAnswer(connection.target.node, (cause as Error).message, cause);
  }
}

/** The answer's body. @throws ServalError the error that was answered, or why there is no answer */
async function answer(
  connection: Connection,
  stream: ClientHttp2Stream,
  replyBytes: number,
): Promise<Buffer> {
  let status: number | undefined;
  stream.once('response', (headers) => (status = headers[':status']));
  let body: Buffer;
  try {
    body = await readBody(stream, { bytes: replyBytes });
  } catch (error) {
    stream.close(constants.NGHTTP2_CANCEL);
    if (error instanceof ServalError && error.code === 'ERR_LIMIT')
      throw badAnswer(connection.target.node, error.reason, error);
    throw await connection.ended();
  }
  // A stream that was reset ends too, without a response.
  if (status === undefined) throw await connection.ended();
  if (status !== 200) throw receivedError(connection.target.node, status, body);
  return body;
}

function timedOut(node: NodeName, what: string, ms: number): ServalError {
  return new ServalError('ERR_TIMEOUT', {
    subject: `${what} to node ${node}`,
    reason: `there was no answer within ${ms} ms`,
    remedy: 'Ask again; check the load of that node and the network to it',
    details: { node },
  });
}
