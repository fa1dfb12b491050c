/** Asks the agent of this node over its unix socket. */
import { request, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { ServalError, type ErrorView } from '@serval/api';

/** Nobody answers at the socket. */
export class Unreachable extends ServalError {}

/** The agent said no. */
export class Refused extends Error {
  override readonly name = 'Refused';

  constructor(
    readonly status: number,
    readonly view: ErrorView,
  ) {
    super(`${view.subject}: ${view.reason}. ${view.remedy}.`);
  }
}

export class AgentClient {
  constructor(readonly socket: string) {}

  /** @throws Unreachable, Refused */
  async call<Result>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<Result> {
    const response = await this.#send(method, path, body);
    const text = await this.#whole(response);
    const value = parse(text);
    const { statusCode = 500 } = response;
    if (statusCode < 300 && value !== undefined) return value as Result;
    throw new Refused(statusCode, isErrorView(value) ? value : noAnswer(path, statusCode, text));
  }

  /** The lines of an answer, each in JSON, until it ends. @throws Unreachable, Refused */
  async *lines<Line>(path: string): AsyncGenerator<Line> {
    const response = await this.#send('GET', path);
    const { statusCode = 500 } = response;
    if (statusCode >= 300) {
      const text = await this.#whole(response);
      const value = parse(text);
      throw new Refused(statusCode, isErrorView(value) ? value : noAnswer(path, statusCode, text));
    }
    try {
      for await (const line of createInterface({ input: response })) {
        const value = parse(line);
        // The last line of an agent that died.
        if (value === undefined) return;
        yield value as Line;
      }
    } catch {
      return; // likewise
    } finally {
      response.destroy();
    }
  }

  #send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
      const sent = request({ socketPath: this.socket, method, path, headers }, (response) => {
        // A broken connection shows when it is read.
        response.on('error', () => undefined);
        resolve(response);
      });
      sent.on('error', (cause) => reject(this.#unreachable(cause)));
      sent.end(text);
    });
  }

  async #whole(response: IncomingMessage): Promise<string> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
      return Buffer.concat(chunks).toString('utf8');
    } catch (cause) {
      throw this.#unreachable(cause as NodeJS.ErrnoException);
    }
  }

  #unreachable(cause: NodeJS.ErrnoException): Unreachable {
    const denied = cause.code === 'EACCES' || cause.code === 'EPERM';
    const [reason, remedy] = reasons[cause.code ?? ''] ?? [
      `the connection broke (${cause.message})`,
      'See whether the agent (servald) runs, and what its log says',
    ];
    return new Unreachable(denied ? 'ERR_NO_PERMISSION' : 'ERR_NOT_FOUND', {
      subject: `agent at ${this.socket}`,
      reason,
      remedy,
      cause,
    });
  }
}

const reasons: Record<string, [reason: string, remedy: string]> = {
  ENOENT: [
    'there is no such socket',
    'Start the agent (servald), or name its socket with --socket or SERVAL_SOCKET',
  ],
  ECONNREFUSED: [
    'nobody listens there',
    'Start the agent (servald), or name its socket with --socket or SERVAL_SOCKET',
  ],
  EACCES: ['this user may not use it', "Run this as the agent's user, root as a rule"],
  EPERM: ['this user may not use it', "Run this as the agent's user, root as a rule"],
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isErrorView(value: unknown): value is ErrorView {
  return (
    typeof value === 'object' &&
    value !== null &&
    'reason' in value &&
    'remedy' in value &&
    'subject' in value
  );
}

function noAnswer(path: string, status: number, text: string): ErrorView {
  return {
    code: 'ERR_INTERNAL',
    subject: path,
    reason: `the answer is not one of an agent (status ${status}: ${text.slice(0, 80).trim()})`,
    remedy: 'Check which program listens at this socket, and its version',
  };
}
