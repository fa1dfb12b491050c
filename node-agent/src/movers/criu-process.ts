/** Starts CRIU, or another tool, and turns its failure into a ServalError with the last lines of its log. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';

/** What a finished command left behind. */
export interface CommandResult {
  /** its exit code; 128 and the signal's number where a signal ended it, 127 where it could not be started */
  code: number;
  stdout: string;
  stderr: string;
  /** from the spawn until its end */
  ms: number;
}

/**
 * Runs a command to its end; never throws. `input` goes to its stdin, which is /dev/null without it.
 *
 * In a session of its own, so that neither a Ctrl-C nor the agent's own end reaches it, and without a time limit: a
 * CRIU that is killed in the middle of a dump leaves its parasite in the workload, which then crashes (seen).
 */
export function run(command: string, args: readonly string[], input?: string): Promise<CommandResult> {
  const start = performance.now();
  return new Promise((resolve) => {
    const stdio = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] as const;
    const child = spawn(command, args, { stdio: [...stdio], detached: true });
    let stdout = '';
    let stderr = '';
    const finish = (code: number) => resolve({ code, stdout, stderr, ms: performance.now() - start });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', (error) => {
      stderr += error.message;
      finish(127);
    });
    child.on('close', (code, signal) => finish(code ?? (signal === null ? 127 : 128)));
    child.stdin?.on('error', () => undefined).end(input);
  });
}

/** Where scripts/install-criu.sh puts CRIU, unless SERVAL_CRIU names another one. */
export function defaultCriuPath(env: NodeJS.ProcessEnv = process.env): string {
  const cache = env['XDG_CACHE_HOME'] ?? join(env['HOME'] ?? homedir(), '.cache');
  return env['SERVAL_CRIU'] ?? join(cache, 'serval', 'criu', 'criu');
}

/** How to enter the namespaces that a pause process holds: CRIU then finds nothing foreign that it had to dump. */
export function enterPod(pausePid: number): string[] {
  return ['net', 'pid', 'mnt'].map((name) => {
    const option = name === 'mnt' ? 'mount' : name;
    return `--${option}=/proc/${pausePid}/ns/${name}`;
  });
}

/**
 * The lines of CRIU's log that say why it failed. Without CAP_SYS_RESOURCE every log has a line about RLIMIT_NOFILE,
 * which does no harm and misleads.
 */
export function explainLog(log: string, count = 8): string[] {
  const lines = log.split('\n').filter((line) => line !== '' && !line.includes('RLIMIT_NOFILE'));
  const errors = lines.filter((line) => line.includes('Error'));
  return (errors.length > 0 ? errors : lines).slice(-count);
}

/** The failure of a CRIU command, with the reason that its log gives. */
export function criuFailure(
  subject: string,
  action: string,
  logFile: string,
  result: CommandResult,
): ServalError {
  const lines = explainLog(readLog(logFile) || result.stderr || result.stdout);
  return new ServalError('ERR_MOVER', {
    subject,
    reason: `criu could not ${action} the workload (exit ${result.code}): ${lines[0] ?? 'its log is empty'}`,
    remedy: remedyFor(lines.join('\n')),
    details: { log: lines, logFile, exitCode: result.code },
  });
}

/** What the log's reason asks the reader to do: [pattern, remedy], each seen here. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /Can't lookup mount=/,
    'have the workload open its files, /dev/null too, inside the pod: this one came from outside',
  ],
  [
    /external (pipe|socket|file)|unix socket|External socket/i,
    'start the workload without inherited descriptors',
  ],
  [/in-flight/i, 'let the accept queue drain before the freeze, or give the flow up'],
  // Its far end has acknowledged a part of a segment; the kernel hands out the whole of it, more than CRIU has asked for.
  [
    /soccr.*recv failed \(\d+, want \d+\)/,
    'a connection waits to send a segment again that is acknowledged in part: start the move again in some seconds',
  ],
  [/Can't connect inet socket back/, 'the target pod has sockets of an earlier restore: start a fresh pod'],
  [
    /Can't bind inet|bind .*Cannot assign/i,
    "put the pod's old address on lo in the target before the restore",
  ],
  [
    /create a thread: -17|Can't fork|Pid \d+ .*exist/i,
    'a process or a zombie of the target pod has a PID of the workload: start a fresh pod',
  ],
  [/tty|terminal/i, 'start the workload without a terminal'],
  [
    / No such file or directory|Can't open file/,
    'the target pod must have the same files at the same paths as the source',
  ],
  [/exec format|not found/i, 'run scripts/install-criu.sh'],
];

function remedyFor(log: string): string {
  const match = remedies.find(([pattern]) => pattern.test(log));
  return match?.[1] ?? 'read the log lines in the details; the source is untouched and may be thawed';
}

function readLog(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
