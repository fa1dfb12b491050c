/** An ordinary Go client: static, its system calls its own, names by Go's own resolver (see go/ask.go). */
import type { NetworkNode } from '../lab/index.js';
import type { Attempt } from './attempts.js';
import { environment, whoProgram } from './programs.js';
import { jsonLines, told, type Told } from './told.js';

export interface GoOptions {
  count?: number;
  /** default tcp; http: net/http */
  protocol?: 'tcp' | 'tcp4' | 'tcp6' | 'udp' | 'udp4' | 'udp6' | 'http';
}

/** @throws ServalError ERR_KERNEL when one of them fails */
export async function goClient(
  node: NetworkNode,
  host: string,
  port: number,
  { count = 1, protocol = 'tcp' }: GoOptions = {},
): Promise<Told> {
  const args = ['ask', '-count', String(count), '-protocol', protocol, host, String(port)];
  const output = await node.run(whoProgram(), args, { env: environment });
  return told(jsonLines<Attempt>(output).map((one) => ({ ...one, name: one.name ?? '' })));
}
