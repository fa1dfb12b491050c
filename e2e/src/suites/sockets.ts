/** Real sockets in a pod (or a router), worked by a helper process there (sockets.py). */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ServalError } from '@serval/api';
import type { NetworkNode } from '../lab/index.js';

export type SocketAddress = [address: string, port: number];
/** level, name, and a number or bytes in hex: the arguments of setsockopt */
export type SocketOption = [level: number, name: number, value: number | string];
/** level, type, bytes in hex */
export type Ancillary = [level: number, type: number, value: string];

export interface OpenRequest {
  kind: 'tcp' | 'udp' | 'raw';
  family: 4 | 6;
  local?: SocketAddress;
  remote?: SocketAddress;
  listen?: boolean;
  options?: readonly SocketOption[];
  /** seconds that any one call may take */
  timeout?: number;
  /** of a raw socket */
  protocol?: number;
}

export interface OpenSocket {
  handle: number;
  local: SocketAddress;
}

export interface Received {
  size: number;
  /** SHA-256 */
  digest: string;
  /** the first 64 bytes, in hex */
  head: string;
  from: SocketAddress | null;
  ancillary: Ancillary[];
}

export interface ErrorReport {
  error: string;
  type: number;
  code: number;
  info: number;
  offender: string | null;
  destination: SocketAddress;
}

/** What each request takes and gives. */
interface Requests {
  open: (request: OpenRequest) => OpenSocket;
  accept: (request: { handle: number }) => OpenSocket & { peer: SocketAddress };
  option: (request: { handle: number; level: number; name: number; value: number | string }) => null;
  close: (request: { handle: number }) => null;
  exchange: (request: { handle: number; size: number; seed: number }) => {
    sent: string;
    received: string;
    missing: number;
  };
  send: (request: {
    handle: number;
    seed: number;
    size: number;
    to?: SocketAddress;
    ancillary?: readonly Ancillary[];
  }) => { digest: string };
  number: (request: { handle: number; first: number; count: number }) => null;
  receive: (request: { handle: number; timeout?: number }) => Received;
  numbers: (request: { handle: number; quiet: number }) => number[];
  echo: (request: { handle: number }) => null;
  failure: (request: { handle: number; timeout?: number }) => ErrorReport;
  /** number in the answer, CLOCK_MONOTONIC in ns when asked and when answered */
  ask: (request: { handle: number; interval: number }) => [number, number, number][];
  answer: (request: { handle: number }) => number[];
  stop: (request: { handle: number }) => null;
  offload: (
    request: { device: string } & Partial<Record<'rx' | 'tx' | 'sg' | 'tso' | 'gso' | 'gro', boolean>>,
  ) => null;
}

/** A call that failed in there; `code` is the errno's name. */
export class SocketError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const python = '/usr/bin/python3';

/** Does things with sockets in one namespace. */
export class Sockets {
  private readonly waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void }
  >();
  private count = 0;
  private words = '';

  private constructor(
    private readonly node: NetworkNode,
    private readonly child: ChildProcess,
  ) {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
      this.answered(line),
    );
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.words += text));
    child.on('close', () => this.ended());
    child.stdin?.on('error', () => undefined); // its end is told by `close`
  }

  /** @throws ServalError ERR_UNSUPPORTED without Python */
  static start(node: NetworkNode): Sockets {
    if (!existsSync(python)) {
      throw new ServalError('ERR_UNSUPPORTED', {
        subject: python,
        reason: 'the program is not installed',
        remedy: 'Install it: apt-get install python3',
      });
    }
    const script = join(import.meta.dirname, 'sockets.py');
    return new Sockets(node, node.spawn(python, ['-I', '-S', script], { stdio: 'pipe' }));
  }

  /** @throws SocketError with the errno's name as its code */
  do<Name extends keyof Requests>(
    name: Name,
    request: Parameters<Requests[Name]>[0],
  ): Promise<ReturnType<Requests[Name]>> {
    const id = ++this.count;
    const answer = new Promise<ReturnType<Requests[Name]>>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      if (this.hasEnded()) return this.ended();
      this.child.stdin?.write(`${JSON.stringify({ id, do: name, with: request })}\n`);
    });
    answer.catch(() => undefined); // a test that failed does not wait any more for what it had begun
    return answer;
  }

  /** The helper ends, and with it all its sockets. */
  async end(): Promise<void> {
    if (this.hasEnded()) return;
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin?.end();
    await closed;
  }

  private hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  private answered(line: string): void {
    const { id, result, code, error } = JSON.parse(line) as {
      id: number;
      result: never;
      code?: string;
      error: string;
    };
    const asker = this.waiting.get(id);
    this.waiting.delete(id);
    if (code === undefined) asker?.resolve(result);
    else asker?.reject(new SocketError(code, `${this.node.name}: ${error}`));
  }

  private ended(): void {
    const error = new SocketError('EPIPE', `${this.node.name}: the helper has ended. ${this.words}`);
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
