/** A load of many short connections: they are opened at random moments, and each lives for a random time. */
import type { NetworkNode } from '../lab/index.js';
import { LineClient } from './line-client.js';

/** What has happened since the row before, as go/churn.go has it. */
export interface Churned {
  /** CLOCK_REALTIME, ms */
  at: number;
  /** connections that were opened, by who answered */
  opened: Record<string, number>;
  /** not established, or without an answer */
  failed: number;
  /** ended by somebody else before their time */
  lost: number;
  /** the longest connect(), ms */
  worstMs: number;
  /** the last thing that went wrong */
  error?: string;
}

export interface ChurnOptions {
  /** connections opened per second on average */
  rate: number;
  /** how long one lives on average; the times are exponentially distributed */
  meanMs: number;
  /** the rate rises from nothing in this time; default 0 */
  rampMs?: number;
  /** a row so often, default 1000 */
  everyMs?: number;
  /** of the random numbers, default 1 */
  seed?: number;
}

/** Runs until it is stopped; what is open then is closed. */
export function startChurn(
  node: NetworkNode,
  host: string,
  port: number,
  { rate, meanMs, rampMs = 0, everyMs = 1_000, seed = 1 }: ChurnOptions,
): LineClient<Churned> {
  const flags = [
    ...['-rate', String(rate), '-mean', `${meanMs}ms`, '-ramp', `${rampMs}ms`],
    ...['-every', `${everyMs}ms`, '-seed', String(seed)],
  ];
  return new LineClient(node, ['churn', ...flags, host, String(port)]);
}
