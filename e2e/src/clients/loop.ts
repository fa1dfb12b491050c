/** A client that connects (or sends a datagram), asks who is there, and closes, again and again. */
import type { NetworkNode } from '../lab/index.js';
import type { Attempt } from './attempts.js';
import { LineClient } from './line-client.js';

export interface LoopOptions {
  /**
   * attempts begun per second, whatever became of those before: one that hangs doesn't hide what others would have met.
   * Without it each begins when the one before is done.
   */
  rate?: number;
  /** without a rate: so many at a time, default 1 */
  parallel?: number;
  /** ends by itself after so many attempts */
  count?: number;
  /** ends by itself after this time */
  seconds?: number;
  /** of connect(), and again of the answer; default 3000, of UDP in all and 1000 */
  timeoutMs?: number;
  /** of the socket: that of the address (auto, default), or an IPv6 socket that is given an IPv4 address (mapped) */
  family?: 'auto' | '4' | '6' | 'mapped';
  /** TCP: close by reset, so that local ports don't run out (some 28,000 a minute to one address and port) */
  abort?: boolean;
  /** by datagrams, which are not sent again */
  udp?: 'connected' | 'unconnected';
  /** UDP: one socket for all of them, one attempt at a time */
  keep?: boolean;
}

/** Starts such a client in a pod or a host; `host` is an address, or a name that is looked up once. */
export function startLoop(
  node: NetworkNode,
  host: string,
  port: number,
  options: LoopOptions = {},
): LineClient<Attempt> {
  const values = {
    rate: options.rate,
    parallel: options.parallel,
    count: options.count,
    for: options.seconds === undefined ? undefined : `${options.seconds}s`,
    timeout: options.timeoutMs === undefined ? undefined : `${options.timeoutMs}ms`,
    family: options.family,
  };
  const flags = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [`-${name}`, String(value)]);
  const switches = {
    '-abort': options.abort === true,
    '-connected': options.udp === 'connected',
    '-keep': options.keep === true,
  };
  const set = Object.entries(switches).flatMap(([name, on]) => (on ? [name] : []));
  const command = options.udp === undefined ? 'loop' : 'udp';
  return new LineClient(node, [command, ...flags, ...set, host, String(port)]);
}
