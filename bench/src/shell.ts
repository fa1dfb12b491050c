/** Programs of the system: run to their end, or started and ended by their own id. */
import { spawn, type ChildProcess } from 'node:child_process';
import { ServalError } from '@serval/api';

/** Runs a program to its end and gives its standard output. @throws ServalError with its last words where it fails */
export function run(command: readonly string[], input = ''): Promise<string> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: 'pipe' });
  let out = '';
  let words = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  child.stdin.on('error', () => undefined).end(input);
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(failed(command, error.message)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(out);
      else reject(failed(command, `it ended with ${code ?? signal}: ${lastWords(words) || lastWords(out)}`));
    });
  });
}

function lastWords(text: string): string {
  return text.trim().split('\n').slice(-3).join('; ').slice(-400);
}

function failed(command: readonly string[], reason: string): ServalError {
  return new ServalError('ERR_KERNEL', {
    subject: command.join(' '),
    reason,
    remedy: 'See what it says; `npm run bootstrap` installs what is missing',
  });
}

/** The command inside a network namespace, on one CPU where one is named. The id stays that of the child. */
export function inside(netns: string, command: readonly string[], cpu?: number): string[] {
  const pinned = cpu === undefined ? [] : ['taskset', '-c', String(cpu)];
  return ['nsenter', `--net=${netns}`, ...pinned, ...command];
}

/** Starts a process that stays. */
export function start(command: readonly string[]): ChildProcess {
  const [program = '', ...args] = command;
  return spawn(program, args, { stdio: 'ignore' });
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}
