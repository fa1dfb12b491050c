import { Redis } from 'ioredis';
import { GapMeter, type Mismatch } from './checks.js';
import { nowMs, type ConnectionKind, type DeadConnection, type WrongReply } from './protocol.js';

/** Where a connection goes and how it behaves; times in ms, sizes in bytes. */
export interface ConnectionSettings {
  host: string;
  port: number;
  paceMs: number;
  publishMs: number;
  valueBytes: number;
  timeoutMs: number;
  /** prefix of every key and channel of this load process */
  keyPrefix: string;
}

/** What a connection tells the one who holds it. */
export interface ConnectionListener {
  /** it closed or errored without our doing; at most once */
  onReset(connection: LoadConnection, reason: string): void;
  onWrong(wrong: WrongReply, connection: LoadConnection): void;
}

/** ioredis says this when a reply comes that no command waits for. */
const surplusReply = 'Command queue state error';

/**
 * One ioredis client that is one TCP connection: it never reconnects, never resends, queues nothing while it is
 * down, and has neither keepalive nor time limits of its own, so whatever happens to the connection shows.
 */
export abstract class LoadConnection {
  readonly meter: GapMeter;
  /** replies and messages so far */
  replies = 0;
  /** lost, doubled, reordered or false replies and messages so far */
  wrong = 0;
  protected readonly redis: Redis;
  protected running = false;
  private deadReason: string | undefined;
  private connected = false;
  private closing = false;
  /** the server's name for this TCP connection, and our own port */
  private serverId: number | undefined;
  private localPort: number | undefined;

  /** @param steady whether replies or messages are due all the time once it has started */
  constructor(
    readonly id: string,
    readonly kind: ConnectionKind,
    steady: boolean,
    protected readonly settings: ConnectionSettings,
    private readonly listener: ConnectionListener,
  ) {
    this.meter = new GapMeter(steady);
    this.redis = new Redis({
      host: settings.host,
      port: settings.port,
      connectionName: id,
      connectTimeout: settings.timeoutMs,
      lazyConnect: true,
      retryStrategy: null,
      maxRetriesPerRequest: null,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      disableClientInfo: true,
    });
    this.redis.on('error', (error: Error) => this.onError(error));
    this.redis.on('end', () => this.die('closed by the other end'));
  }

  get alive(): boolean {
    return this.deadReason === undefined && !this.closing;
  }

  /** Opens the TCP connection and learns the server's name for it; fails when the server is silent too long. */
  async connect(): Promise<void> {
    const reason = await within(this.settings.timeoutMs, this.open());
    if (reason !== undefined) throw new Error(reason);
    this.connected = true;
  }

  /** Begins to work; `delayMs` spreads the connections over one pace. */
  async start(delayMs: number): Promise<void> {
    this.running = true;
    await this.work(delayMs);
  }

  /** Asks the server for an answer on this connection; undefined when it is well, else what is wrong with it. */
  async check(timeoutMs: number): Promise<DeadConnection | undefined> {
    const reason = this.deadReason ?? (await within(timeoutMs, this.verify()));
    return reason === undefined ? undefined : { connection: this.id, kind: this.kind, reason };
  }

  /** Closes the connection; this is no reset. */
  close(): void {
    this.closing = true;
    this.running = false;
    this.redis.disconnect();
  }

  /** Begins the work of this kind, and returns once it is under way. */
  protected abstract work(delayMs: number): Promise<void>;

  /** What `check` asks; resolves to undefined when all is well. */
  protected verify(): Promise<string | undefined> {
    return this.identify();
  }

  /** Asks for an echo and for the server's name of the connection; resolves to undefined when both are right. */
  protected async identify(): Promise<string | undefined> {
    const token = `${this.id}/${nowMs()}`;
    const [echo, serverId] = await Promise.all([
      this.ask(() => this.redis.echo(token)),
      this.ask(() => this.redis.client('ID')),
    ]);
    if (echo !== token) this.report([{ command: 'echo', expected: token, got: echo }]);
    if (serverId !== this.serverId)
      return `the server took ${this.serverId} for a new connection ${serverId}`;
    const port = this.redis.stream.localPort;
    return port === this.localPort ? undefined : `the local port changed from ${this.localPort} to ${port}`;
  }

  /** Sends one command and measures its reply. */
  protected async ask<T>(send: () => Promise<T>): Promise<T> {
    this.meter.request(nowMs());
    const reply = await send();
    this.meter.reply(nowMs());
    this.replies += 1;
    return reply;
  }

  /** Counts and tells wrong replies. */
  protected report(mismatches: readonly Mismatch[]): void {
    for (const mismatch of mismatches) {
      this.wrong += 1;
      this.listener.onWrong({ connection: this.id, ...mismatch, atMs: nowMs() }, this);
    }
  }

  /** An error reply of the server is a wrong reply; the end of the connection is told elsewhere. */
  protected onCommandError(command: string, error: unknown): void {
    if (!isErrorReply(error)) return;
    this.report([{ command, expected: 'a reply', got: `error ${error.message}` }]);
  }

  private async open(): Promise<undefined> {
    await this.redis.connect();
    this.redis.stream.setKeepAlive(false);
    this.localPort = this.redis.stream.localPort;
    this.serverId = await this.redis.client('ID');
  }

  private onError(error: Error): void {
    if (error.message.startsWith(surplusReply)) {
      this.report([{ command: 'none', expected: 'nothing', got: error.message }]);
      return;
    }
    this.die(error.message);
  }

  private die(reason: string): void {
    if (this.closing || this.deadReason !== undefined) return;
    this.deadReason = reason;
    this.running = false;
    this.meter.close(nowMs());
    if (this.connected) this.listener.onReset(this, reason);
  }
}

/** Tells the server's error replies from the client's own errors. */
export function isErrorReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

/** Waits for `answer`, at most `timeoutMs`; failure and lateness become the reason. */
async function within(timeoutMs: number, answer: Promise<string | undefined>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer in ${timeoutMs} ms`), timeoutMs);
  });
  const failed = answer.catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
  try {
    return await Promise.race([failed, late]);
  } finally {
    clearTimeout(timer);
  }
}
