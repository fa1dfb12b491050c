import type { NetworkNode } from '../lab/index.js';
import { environment } from './programs.js';

/**
 * Runs a program so many times, one after the other, and returns all of its standard output. In one shell in there: to
 * enter a pod for each costs more than most programs take.
 * @throws ServalError ERR_KERNEL with its words when one fails
 */
export async function repeated(node: NetworkNode, count: number, words: readonly string[]): Promise<string> {
  const script = 'left=$1; shift; while [ "$left" -gt 0 ]; do "$@" || exit; left=$((left - 1)); done';
  return await node.run('/bin/sh', ['-c', script, 'sh', String(count), ...words], { env: environment });
}
