/** /metrics, /healthz and /readyz over HTTP. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ServalError, type CheckView } from '@serval/api';
import type { Registry } from 'prom-client';

/** Undefined where it is well, else why not. */
export type Check = () => Promise<string | undefined> | string | undefined;

export interface MetricsServerOptions {
  address: string;
  port: number;
  registry: Registry;
  /** by name; one that fails makes /healthz fail: the agent should be restarted */
  health: Readonly<Record<string, Check>>;
  /** by name; one that fails makes /readyz fail: the agent is not to be given work */
  ready: Readonly<Record<string, Check>>;
}

export interface MetricsServer {
  port: number;
  close(): Promise<void>;
}

/** a check that has not answered by then has failed */
const checkMs = 2_000;

/** @throws ServalError ERR_CONFLICT (port in use), ERR_NO_PERMISSION, ERR_BAD_INPUT (address) */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, plain);
      response.end(`${String(error)}\n`);
    });
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  server.maxConnections = 64;
  await listen(server, options.address, options.port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const plain = { 'content-type': 'text/plain; charset=utf-8' };

async function answer(
  { registry, health, ready }: MetricsServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url?.split('?')[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { ...plain, allow: 'GET, HEAD' }).end('Only GET and HEAD are understood here\n');
  } else if (path === '/metrics') {
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(text);
  } else if (path === '/healthz' || path === '/readyz') {
    const results = await runChecks(path === '/healthz' ? health : ready);
    const lines = results.map(
      ({ name, ok, reason }) => `[${ok ? '+' : '-'}] ${name} ${ok ? 'ok' : reason}\n`,
    );
    response.writeHead(results.every(({ ok }) => ok) ? 200 : 503, plain).end(lines.join(''));
  } else {
    response.writeHead(404, plain).end('There are /metrics, /healthz and /readyz\n');
  }
}

/** All at once; none takes longer than 2 s. */
export function runChecks(checks: Readonly<Record<string, Check>>): Promise<CheckView[]> {
  return Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      const reason = await outcome(check);
      return reason === undefined ? { name, ok: true } : { name, ok: false, reason };
    }),
  );
}

async function outcome(check: Check): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no answer within ${checkMs / 1000} s`), checkMs);
  });
  try {
    return await Promise.race([late, Promise.resolve().then(check)]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}

async function listen(server: Server, address: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE';
      reject(
        new ServalError(
          taken ? 'ERR_CONFLICT' : cause.code === 'EACCES' ? 'ERR_NO_PERMISSION' : 'ERR_BAD_INPUT',
          {
            subject: `metrics on ${address} port ${port}`,
            reason: taken ? 'something else listens there' : cause.message,
            remedy: 'Set metrics.address and metrics.port to what this host has free',
            cause,
          },
        ),
      );
    });
    server.listen({ host: address, port }, resolve);
  });
}
