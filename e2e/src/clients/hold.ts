/** A client that keeps connections open. */
import type { NetworkNode } from '../lab/index.js';
import { LineClient } from './line-client.js';

/** What happened to one connection, as go/hold.go has it. */
export interface Held {
  /** lost: it was never established, or somebody else ended it. closed: by this client, in order */
  event: 'opened' | 'lost' | 'closed';
  /** counted from 0 */
  connection: number;
  /** CLOCK_REALTIME, ms */
  at: number;
  connectMs: number;
  /** who answers on it */
  name?: string;
  seen?: string;
  peer?: string;
  local?: string;
  answers: number;
  /** the longest that a question waited for its answer, ms; of a lost one also the question that had none */
  worstMs: number;
  error?: string;
}

export interface HoldOptions {
  /** default 1 */
  connections?: number;
  /** how often to ask on each, default 100; 0: once, then the connection is idle */
  everyMs?: number;
  /** of connect(), default 3000 */
  timeoutMs?: number;
}

/** Starts such a client; an end of a connection is noticed at once, also of an idle one. */
export function startHold(
  node: NetworkNode,
  host: string,
  port: number,
  options: HoldOptions = {},
): HoldClient {
  const flags = [
    ...['-connections', String(options.connections ?? 1)],
    ...['-every', `${options.everyMs ?? 100}ms`],
    ...['-timeout', `${options.timeoutMs ?? 3000}ms`],
  ];
  return new HoldClient(node, ['hold', ...flags, host, String(port)]);
}

export class HoldClient extends LineClient<Held> {
  /** Resolves when so many connections are open (or lost already). */
  async opened(connections: number): Promise<Held[]> {
    const met = (rows: readonly Held[]) => new Set(rows.map(({ connection }) => connection)).size;
    return await this.until(`to open ${connections} connections`, (rows) => met(rows) >= connections);
  }

  /** Those that were lost until now. */
  get lost(): Held[] {
    return this.rows.filter(({ event }) => event === 'lost');
  }
}
