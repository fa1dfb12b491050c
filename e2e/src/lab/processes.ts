import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs';
import { ServalError } from '@serval/api';

/** A process for certain: a pid alone may be given to somebody else. */
export interface ProcessIdentity {
  pid: number;
  /** start time in clock ticks since boot, as in /proc/PID/stat */
  start: number;
}

export interface RunOptions {
  /** text for standard input */
  input?: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** milliseconds after which the command is killed and counts as failed */
  timeout?: number;
  /** runs the command in a session of its own, out of the terminal's reach */
  detached?: boolean;
}

export interface Output {
  stdout: string;
  stderr: string;
}

const debianPackages: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  tcpdump: 'tcpdump',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  setsid: 'util-linux',
  mount: 'mount',
  env: 'coreutils',
  sleep: 'coreutils',
  sh: 'dash',
  bash: 'bash',
};
const searchPath = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const foundTools = new Map<string, string>();

/**
 * Absolute path of a program.
 * @throws ServalError ERR_UNSUPPORTED, naming the Debian package, when it is not installed
 */
export function tool(name: string): string {
  const known = foundTools.get(name);
  if (known !== undefined) return known;
  const found = searchPath.map((folder) => `${folder}/${name}`).find(isExecutable);
  if (found === undefined) {
    throw new ServalError('ERR_UNSUPPORTED', {
      subject: name,
      reason: 'the program is not installed',
      remedy: `Install it: apt-get install ${debianPackages[name] ?? name}`,
    });
  }
  foundTools.set(name, found);
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws ServalError ERR_NO_PERMISSION when this process may not make network namespaces */
export function requireRoot(): void {
  const bits = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const netAdmin = 1n << 12n;
  const sysAdmin = 1n << 21n;
  const needed = netAdmin | sysAdmin;
  if (process.getuid?.() === 0 && (BigInt(`0x${bits}`) & needed) === needed) return;
  throw new ServalError('ERR_NO_PERMISSION', {
    subject: 'lab',
    reason: 'network namespaces need root with CAP_NET_ADMIN and CAP_SYS_ADMIN',
    remedy: 'Run it as root (sudo), in a container as privileged',
  });
}

/**
 * Runs a program to its end.
 * @throws ServalError ERR_KERNEL with the last words of its standard error when it fails; `details` has
 *   `exitCode`, `signal`, `stdout` and `stderr`
 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Output> {
  const { input, ...spawnOptions } = options;
  const child = spawn(program, args, { ...spawnOptions, stdio: ['pipe', 'pipe', 'pipe'] });
  return await outputOf(child, [program, ...args], input);
}

/** Waits for a child with piped output; throws as `run` does. `command` names it in the error. */
export async function outputOf(
  child: ReturnType<typeof spawn>,
  command: readonly string[],
  input = '',
): Promise<Output> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  }
  child.stdin?.on('error', () => undefined); // a child that ends without reading its input is judged by its exit code
  child.stdin?.end(input);
  const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', (cause) => reject(commandError(command, cause.message, { cause })));
    child.on('close', (...ending) => resolve(ending));
  });
  if (exitCode === 0) return output;
  const ending = signal === null ? `it ended with exit code ${exitCode}` : `it was ended by ${signal}`;
  throw commandError(command, ending, { exitCode, signal, ...output });
}

function commandError(
  command: readonly string[],
  ending: string,
  facts: Record<string, unknown>,
): ServalError {
  const words = typeof facts.stderr === 'string' ? facts.stderr.trim().split('\n').slice(-3).join('; ') : '';
  return new ServalError('ERR_KERNEL', {
    subject: command.join(' '),
    reason: words === '' ? ending : `${ending}: ${words.replace(/\.$/, '')}`,
    remedy: 'See what the command says',
    cause: facts.cause,
    details: facts,
  });
}

/** Who a pid is at the moment, or undefined when it has ended (a zombie has). */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  if (fields === undefined || fields.state === 'Z' || fields.state === 'X') return undefined;
  return { pid, start: fields.start };
}

/** Whether exactly this process still lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.start === identity.start;
}

/** Whether a process waits for something to happen, rather than to be given the processor; true once it has ended. */
export function isIdle(pid: number): boolean {
  return ['S', 'Z', 'X', undefined].includes(statFields(pid)?.state);
}

/** Sends SIGKILL to exactly this process, if it still lives. */
export function killProcess(identity: ProcessIdentity): void {
  if (!isAlive(identity)) return;
  signalProcess(identity.pid, 'SIGKILL');
}

/** Sends a signal; false when there is no such process any more. */
export function signalProcess(pid: number, signal: NodeJS.Signals | number): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Pids of all processes that can be seen from here. */
export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The first child of a process, or undefined. (The kernel's own list needs CONFIG_PROC_CHILDREN.) */
export function childOf(parent: number): number | undefined {
  return allPids().find((pid) => statFields(pid)?.parent === parent);
}

/** Blocks the whole process: only for removal, which must also work while the process ends. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** The kernel's id of this boot: pids and start times mean nothing across boots. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function statFields(pid: number): { state: string; parent: number; start: number } | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // it ended
  }
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' '); // the name in brackets may hold anything
  return { state: fields[0] ?? 'X', parent: Number(fields[1]), start: Number(fields[19]) };
}
