/** The connection to one other node: made when it is wanted, kept, made again with backoff. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from '../datapath/types.js';
import type { NodeName } from '../protocol/messages.js';
import { Connection, unreachable, type ConnectionLimits } from './connection.js';
import type { Credentials } from './credentials.js';

export interface PeerLimits extends ConnectionLimits {
  /** pause after the first failed attempt; doubles with each, up to `backoffMaxMs` */
  backoffMs: number;
  backoffMaxMs: number;
  /** a connection that nobody used for so long is closed */
  idleMs: number;
}

export class Peer {
  private current: Connection | undefined;
  private opening: Promise<Connection> | undefined;
  private failures = 0;
  /** no attempt before, by performance.now() */
  private notBefore = 0;
  private usedAt = 0;
  private lastError: unknown;

  constructor(
    private readonly node: NodeName,
    private address: Endpoint,
    private readonly credentials: Credentials,
    private readonly limits: PeerLimits,
  ) {}

  /**
   * A connection that is fit for use. All who ask at the same time share one attempt.
   * @throws ServalError ERR_UNREACHABLE, ERR_CERTIFICATE, ERR_WRONG_NODE; at once, where the pause before the next
   * attempt is longer than the caller would wait
   */
  connection(address: Endpoint, withinMs: number): Connection | Promise<Connection> {
    this.usedAt = performance.now();
    if (address.address !== this.address.address || address.port !== this.address.port) this.moveTo(address);
    if (this.current?.usable === true) return this.current;
    if (this.opening !== undefined) return this.opening;
    if (this.notBefore - this.usedAt > withinMs)
      throw unreachable({ node: this.node, address }, 'the last attempts failed', this.lastError);
    return this.open();
  }

  /** Changes over to the new certificate: the old connection serves until the new one stands, and what it began to its end. */
  renew(): void {
    const old = this.current;
    if (old === undefined) return;
    this.notBefore = 0;
    // A failure shows itself with the next request; the old connection is better than none.
    this.open().then(
      () => old.retire(),
      () => undefined,
    );
  }

  /** Closes a connection that nobody uses. True where there is nothing left to keep. */
  tidy(): boolean {
    if (performance.now() - this.usedAt < this.limits.idleMs) return false;
    this.current?.retire();
    this.current = undefined;
    return this.opening === undefined;
  }

  close(): void {
    this.current?.destroy();
    this.opening?.then(
      (connection) => connection.destroy(),
      () => undefined,
    );
  }

  private moveTo(address: Endpoint): void {
    this.address = address;
    this.current?.retire();
    this.current = undefined;
    this.opening = undefined;
    this.notBefore = 0;
    this.failures = 0;
  }

  private open(): Promise<Connection> {
    const opening = this.attempt({ node: this.node, address: this.address });
    this.opening = opening;
    const over = (): void => {
      if (this.opening === opening) this.opening = undefined;
    };
    opening.then((connection) => {
      // Another address may have been given meanwhile.
      if (this.opening === opening) this.current = connection;
      else connection.retire();
      over();
    }, over);
    return opening;
  }

  private async attempt(target: { node: NodeName; address: Endpoint }): Promise<Connection> {
    const pause = this.notBefore - performance.now();
    if (pause > 0) await sleep(pause, undefined, { ref: false });
    try {
      const connection = await Connection.open(target, this.credentials.current, this.limits);
      this.failures = 0;
      return connection;
    } catch (error) {
      this.lastError = error;
      const { backoffMs, backoffMaxMs } = this.limits;
      const full = Math.min(backoffMaxMs, backoffMs * 2 ** this.failures++);
      // Jitter: many who lost the same node don't come back to it at one moment.
      this.notBefore = performance.now() + full * (0.5 + Math.random() / 2);
      throw error;
    }
  }
}
