import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { ServalError, errorCodes, type ErrorCode } from '@serval/api';
import {
  LineSplitter,
  type CheckResult,
  type ConnectParams,
  type ConnectResult,
  type Failure,
  type LoadCommandName,
  type LoadCommands,
  type LoadEvent,
  type Request,
  type WindowStats,
} from './protocol.js';

/** How a load process is started. */
export interface LoadProcessOptions {
  /** name for errors, as the client pod's; default `load` */
  label?: string;
  /** what goes before the program, as `['nsenter', '--net=/run/netns/x']`; default nothing */
  prefix?: readonly string[];
  /** path of the built load/main.js; default the one beside this file */
  script?: string;
  /** hears resets and wrong replies as they happen */
  onEvent?: (event: LoadEvent) => void;
}

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/** how much of a dead process's stderr goes into the error, characters */
const stderrKept = 2000;

/** The parent's handle of a load process. When the parent dies, the load process ends by itself. */
export class LoadProcess {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly waiting = new Map<number, Waiting>();
  private readonly label: string;
  private readonly onEvent: (event: LoadEvent) => void;
  private readonly exited: Promise<void>;
  private nextId = 1;
  private stderr = '';
  private ended: string | undefined;

  private constructor(options: LoadProcessOptions) {
    this.label = options.label ?? 'load';
    this.onEvent = options.onEvent ?? (() => undefined);
    const script = options.script ?? new URL('./main.js', import.meta.url).pathname;
    // Room for what a window allocates: a client's own collections are not what is measured.
    const program = [process.execPath, '--max-semi-space-size=64', script];
    const [command = process.execPath, ...args] = [...(options.prefix ?? []), ...program];
    this.child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const lines = new LineSplitter((line) => this.onLine(line));
    this.child.stdout.setEncoding('utf8').on('data', (chunk: string) => lines.push(chunk));
    this.child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr = (this.stderr + chunk).slice(-stderrKept);
    });
    this.child.stdin.on('error', () => undefined);
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => resolve(this.onExit(error.message)));
      this.child.on('close', (code, signal) =>
        resolve(this.onExit(`ended with ${signal ?? `code ${code}`}`)),
      );
    });
  }

  /** Starts a load process; commands may be sent at once. */
  static start(options: LoadProcessOptions = {}): LoadProcess {
    return new LoadProcess(options);
  }

  /** The process's id; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Opens the connections. */
  connect(params: ConnectParams): Promise<ConnectResult> {
    return this.send('connect', params);
  }

  /** Lets the connections begin to work. */
  async start(): Promise<void> {
    await this.send('start', {});
  }

  /** Begins a measuring window; resolves to its beginning, ms of CLOCK_MONOTONIC. */
  async beginWindow(): Promise<number> {
    return (await this.send('begin-window', {})).atMs;
  }

  /** Ends the measuring window. */
  endWindow(): Promise<WindowStats> {
    return this.send('end-window', {});
  }

  /** Asks every connection for an answer within `timeoutMs`. */
  check(timeoutMs: number): Promise<CheckResult> {
    return this.send('check', { timeoutMs });
  }

  /** Closes the connections and ends the process; kills it after `timeoutMs`. Never fails. */
  async stop(timeoutMs = 5000): Promise<void> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
    await this.send('stop', {}).catch(() => undefined);
    this.child.stdin.end();
    await this.exited;
    clearTimeout(timer);
  }

  private send<Name extends LoadCommandName>(
    command: Name,
    params: LoadCommands[Name]['params'],
  ): Promise<LoadCommands[Name]['result']> {
    if (this.ended !== undefined) return Promise.reject(this.goneError(this.ended));
    const request: Request<Name> = { id: this.nextId, command, params };
    this.nextId += 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(request.id, {
        resolve: (result) => resolve(result as LoadCommands[Name]['result']),
        reject,
      });
      this.child.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }

  private onLine(line: string): void {
    let event: LoadEvent;
    try {
      event = JSON.parse(line) as LoadEvent;
    } catch {
      this.stderr = `${this.stderr}${line}\n`.slice(-stderrKept);
      return;
    }
    if (event.event === 'result') this.settle(event.id)?.resolve(event.result);
    else if (event.event === 'failure') this.settle(event.id)?.reject(this.commandError(event.failure));
    else this.onEvent(event);
  }

  private settle(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  private onExit(reason: string): void {
    this.ended ??= reason;
    for (const { reject } of this.waiting.values()) reject(this.goneError(this.ended));
    this.waiting.clear();
  }

  private commandError(failure: Failure): ServalError {
    const code: ErrorCode = failure.code in errorCodes ? (failure.code as ErrorCode) : 'ERR_BAD_INPUT';
    return new ServalError(code, { ...failure, subject: `load process ${this.label}, ${failure.subject}` });
  }

  private goneError(reason: string): ServalError {
    return new ServalError('ERR_NOT_FOUND', {
      subject: `load process ${this.label}`,
      reason: `it is gone: ${reason}${this.stderr === '' ? '' : `; it said: ${this.stderr.trim()}`}`,
      remedy: 'Build the project (npm run build) and see what it said',
    });
  }
}
