/** Where the command line runs, how it prints, and what its exit codes mean. */
import type { ServalError } from '@serval/api';
import { stringify } from 'yaml';
import type { TextOptions } from './describe.js';
import type { OpenCluster } from './kube/cluster.js';
import type { Screen } from './progress.js';
import { printable } from './text.js';

export const exitCode = { done: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;

export const exitCodesHelp = `
Exit codes:
  0    done
  1    failed: refused, not found, not ready, not healthy, or the migration was given up or rolled back
  2    wrong usage
  3    the API server, or the agent, is not reachable
  130  interrupted; a migration that was followed goes on`;

export type Output = 'json' | 'yaml' | 'wide' | undefined;

export const outputs = ['json', 'yaml', 'wide'] as const;

/** Where it runs. */
export interface Surroundings {
  /** standard output */
  screen: Screen;
  printError: (text: string) => void;
  environment: Readonly<Record<string, string | undefined>>;
  version: string;
  /** default: that of the kubeconfig */
  openCluster?: OpenCluster;
  /** is told of Ctrl-C until what it returns is called; without a handler Ctrl-C ends the program */
  onInterrupt?: (handler: () => void) => () => void;
}

/** Called with wrong words. */
export class WrongUsage extends Error {
  override readonly name = 'WrongUsage';
}

/** The exit code of what was thrown. */
export function codeOf(error: unknown): number {
  if (error instanceof WrongUsage) return exitCode.usage;
  const code = (error as Partial<ServalError>).code;
  if (code === 'ERR_UNREACHABLE' || code === 'ERR_TIMEOUT') return exitCode.unreachable;
  return code === 'ERR_BAD_INPUT' ? exitCode.usage : exitCode.failed;
}

export function print<Value>(
  screen: Screen,
  output: Output,
  value: Value,
  lines: (value: Value, options: TextOptions) => string[],
): void {
  if (output === 'json') screen.write(`${JSON.stringify(value, undefined, 2)}\n`);
  else if (output === 'yaml') screen.write(stringify(value));
  else printLines(screen, lines(value, { wide: output === 'wide', width: screen.width, now: Date.now() }));
}

export function printLines(screen: Screen, lines: readonly string[]): void {
  screen.write(lines.map((line) => `${printable(line)}\n`).join(''));
}

/** A program reads it: nothing but the end is for it. */
export function isForPrograms(output: Output): boolean {
  return output === 'json' || output === 'yaml';
}
