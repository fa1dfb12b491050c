import { ServalError } from '@serval/api';
import type { NetworkNode } from '../lab/index.js';
import { whoamiName } from './dns.js';
import { environment, installed } from './programs.js';
import { told, type Told } from './told.js';

export interface DigOptions {
  /** questions, each by a socket of its own */
  count?: number;
  tcp?: boolean;
}

/**
 * Asks a DNS server (at an address, not at a mapped one: dig skips those) for its name. Nothing is asked twice.
 * @throws ServalError ERR_KERNEL with dig's words when one is not answered
 */
export async function dig(
  node: NetworkNode,
  server: string,
  port = 53,
  { count = 1, tcp = false }: DigOptions = {},
): Promise<Told> {
  const questions = Array.from({ length: count }, () => [whoamiName, 'TXT']).flat();
  const answers = await lookup(node, server, port, questions, tcp);
  return told(answers.map((text) => ({ name: text.replaceAll('"', '') })));
}

/** The addresses that a DNS server gives for a name. */
export async function digAddresses(
  node: NetworkNode,
  server: string,
  name: string,
  { port = 53, type = 'A' }: { port?: number; type?: 'A' | 'AAAA' } = {},
): Promise<string[]> {
  return await lookup(node, server, port, [name, type], false);
}

async function lookup(
  node: NetworkNode,
  server: string,
  port: number,
  questions: readonly string[],
  tcp: boolean,
): Promise<string[]> {
  // ~/.digrc is not there: HOME is /
  const options = ['+short', '+tries=1', '+time=3', ...(tcp ? ['+tcp'] : [])];
  const args = [`@${server}`, '-p', String(port), ...options, ...questions];
  const output = await node.run(installed('dig'), args, { env: environment }).catch((error: unknown) => {
    throw error instanceof ServalError ? failure(args, String(error.details.stdout), error) : error;
  });
  const lines = output.split('\n').filter((line) => line !== '');
  // It goes on after what it calls an error, and ends with status 0.
  if (lines.some((line) => line.startsWith(';'))) throw failure(args, output);
  return lines;
}

/** dig writes what went wrong among its answers. */
function failure(args: readonly string[], output: string, cause?: unknown): ServalError {
  const words = output.split('\n').filter((line) => line.startsWith(';;'));
  return new ServalError('ERR_KERNEL', {
    subject: ['dig', ...args].join(' '),
    reason: words.join(' '),
    remedy: 'See what it says',
    cause,
  });
}
