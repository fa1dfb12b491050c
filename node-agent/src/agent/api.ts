/**
 * The local API: HTTP and JSON over a unix socket that only the agent's user may use. What it answers is in api/src/local.ts;
 * errors are {code, subject, reason, remedy}.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import {
  ServalError,
  migrationResult,
  objectName,
  moverValues,
  type MigrationRequest,
  type ServalMigration,
} from '@serval/api';
import { compile } from '@serval/kube-runtime';
import type { AgentFacade } from './facade.js';
import { streamJson } from './json-stream.js';
import { hostName } from './services/clients.js';
import type { ResolveQuestion } from './services/resolve.js';
import { errorView, flowView } from './views.js';

export type { AgentFacade } from './facade.js';

export interface LocalApi {
  /** Ends watches and connections too. */
  close(): Promise<void>;
}

/** @throws ServalError ERR_CONFLICT where another agent listens there, ERR_NO_PERMISSION, ERR_KERNEL */
export async function startLocalApi(
  socket: string,
  agent: AgentFacade,
  onError: (error: unknown) => void = () => undefined,
): Promise<LocalApi> {
  const server = createServer((request, response) => {
    serve(agent, request, response).catch((error: unknown) => {
      const { status, view } = errorView(error);
      if (status >= 500) onError(error);
      if (response.headersSent) response.end();
      else json(response, status, view);
    });
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  server.maxConnections = 256;
  await listen(server, socket);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Call {
  agent: AgentFacade;
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  /** from the path */
  name: string;
}

type Handle = (call: Call) => Promise<void>;

/** By method and path; `:name` stands for one segment. */
const routes: Readonly<Record<string, Readonly<Record<string, Handle>>>> = {
  '/v1/status': { GET: async ({ agent, response }) => json(response, 200, await agent.status()) },
  '/v1/pods': { GET: async ({ agent, response }) => json(response, 200, await agent.pods()) },
  '/v1/reports': {
    GET: ({ agent, response }) => Promise.resolve(json(response, 200, agent.reports())),
  },
  '/v1/flows': {
    GET: async ({ agent, response, url }) => {
      const flows = await agent.flows(url.searchParams.get('pod') ?? undefined);
      json(response, 200, flows.map(flowView));
    },
  },
  '/v1/services': {
    GET: ({ agent, response, url }) =>
      streamJson(response, 200, agent.services(url.searchParams.get('name') ?? undefined)),
  },
  '/v1/resolve': {
    GET: ({ agent, response, url }) => streamJson(response, 200, agent.resolve(question(url))),
  },
  '/v1/migrations': {
    GET: ({ agent, response }) => Promise.resolve(json(response, 200, agent.migrations())),
    POST: async ({ agent, request, response }) =>
      json(response, 201, await agent.createMigration(await readRequest(request))),
  },
  '/v1/migrations/:name': {
    GET: (call) => {
      const migration = known(call);
      const watched = ['1', 'true'].includes(call.url.searchParams.get('watch') ?? '');
      if (watched) watch(call, migration);
      else json(call.response, 200, migration);
      return Promise.resolve();
    },
    DELETE: async (call) => {
      await call.agent.cancelMigration(known(call).metadata.name);
      json(call.response, 202, {});
    },
  },
  '/v1/migrations/:name/freeze': {
    POST: async ({ agent, response, name }) => json(response, 200, await agent.freeze(name)),
  },
  // The target's agent may know it by its id only.
  '/v1/migrations/:name/restored': {
    POST: async ({ agent, response, name }) => json(response, 200, await agent.restored(name)),
  },
  '/v1/migrations/:name/abort': {
    POST: async ({ agent, response, name }) => {
      await agent.abort(name);
      json(response, 202, {});
    },
  },
};

async function serve(agent: AgentFacade, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(`http://agent${request.url ?? '/'}`);
  const { path, name } = template(url.pathname);
  const methods = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (methods === undefined)
    throw new ServalError('ERR_NOT_FOUND', {
      subject: url.pathname,
      reason: 'there is no such path',
      remedy: `There are ${Object.keys(routes).join(', ')}`,
    });
  const handle = methods[request.method ?? ''];
  if (handle !== undefined) return handle({ agent, request, response, url, name });
  const allow = Object.keys(methods).join(', ');
  response.setHeader('allow', allow);
  json(response, 405, {
    code: 'ERR_BAD_INPUT',
    subject: `${request.method} ${url.pathname}`,
    reason: 'this method is not understood here',
    remedy: `Use ${allow}`,
  });
}

/** `/v1/migrations/NAME/freeze` to `/v1/migrations/:name/freeze` and NAME */
function template(path: string): { path: string; name: string } {
  const [, encoded, rest = ''] = /^\/v1\/migrations\/([^/]+)(\/[a-z]+)?$/.exec(path) ?? [];
  if (encoded === undefined) return { path, name: '' };
  try {
    return { path: `/v1/migrations/:name${rest}`, name: decodeURIComponent(encoded) };
  } catch (cause) {
    throw badRequest(path, 'its percent-encoding is broken', 'Encode the name again', cause);
  }
}

function known({ agent, name }: Call): ServalMigration {
  const migration = agent.migration(name);
  if (migration !== undefined) return migration;
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `migration ${name}`,
    reason: 'this agent knows no such migration',
    remedy: 'See `serval migrations`, and ask the agent of the node that the workload is on',
  });
}

/** One line for each state until it has ended; who reads slowly misses states, but never the last. */
function watch({ agent, response }: Call, first: ServalMigration): void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  let waiting: ServalMigration | undefined;
  let blocked = false;
  let over = false;
  const tell = (migration: ServalMigration | undefined): void => {
    if (migration === undefined) return finish();
    if (blocked) {
      waiting = migration;
      return;
    }
    blocked = !response.write(line(migration));
    if (migrationResult(migration) !== undefined) finish();
  };
  const finish = (): void => {
    over = true;
    response.end(waiting === undefined ? undefined : line(waiting));
  };
  const stop = agent.watchMigration(objectName(first), (migration) => over || tell(migration));
  response.on('drain', () => {
    blocked = false;
    const migration = waiting;
    waiting = undefined;
    if (migration !== undefined && !over) tell(migration);
  });
  response.on('close', () => {
    over = true;
    stop();
  });
  tell(agent.migration(objectName(first)) ?? first);
}

function line(migration: ServalMigration): string {
  return `${JSON.stringify(migration)}\n`;
}

// --- requests

function question({ searchParams }: URL): ResolveQuestion {
  const name = searchParams.get('name') ?? '';
  if (name === '') throw badRequest('query', 'it names nothing to resolve', 'Ask for /v1/resolve?name=NAME');
  const protocol = searchParams.get('protocol');
  if (protocol !== null && protocol !== 'tcp' && protocol !== 'udp')
    throw badRequest('field "protocol"', `it is ${JSON.stringify(protocol)}`, 'Say tcp or udp');
  const port = searchParams.get('port');
  return {
    name,
    from: searchParams.get('from') ?? hostName,
    ...(port === null ? {} : { port }),
    ...(protocol === null ? {} : { protocol }),
  };
}

const longestBody = 65_536;

const checkRequest = compile({
  type: 'object',
  additionalProperties: false,
  required: ['workload', 'targetNode'],
  properties: {
    workload: { type: 'string', maxLength: 512, format: 'namespacedName' },
    targetNode: { type: 'string', maxLength: 253, format: 'name' },
    mover: { type: 'string', enum: moverValues },
    name: { type: 'string', maxLength: 253, format: 'name' },
  },
});

async function readRequest(request: IncomingMessage): Promise<MigrationRequest> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestBody)
      throw badRequest('request', `it is longer than ${longestBody} bytes`, 'Send a MigrationRequest');
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw badRequest('request', 'it is no JSON', 'Send a JSON object', cause);
  }
  const problem = checkRequest(value)[0];
  if (problem === undefined) return value as MigrationRequest;
  const subject = problem.field === '' ? 'request' : `field "${problem.field}"`;
  throw badRequest(subject, problem.reason, problem.remedy);
}

function badRequest(subject: string, reason: string, remedy: string, cause?: unknown): ServalError {
  return new ServalError('ERR_BAD_INPUT', { subject, reason, remedy, cause });
}

function json(response: ServerResponse, status: number, value: unknown): void {
  const body = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

// --- the socket

async function listen(server: Server, socket: string): Promise<void> {
  try {
    await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
    if (await answers(socket)) throw Object.assign(new Error('taken'), { code: 'EADDRINUSE' });
    // Left by an agent that was killed.
    await rm(socket, { force: true });
    await bind(server, socket);
    await chmod(socket, 0o600);
  } catch (cause) {
    throw socketError(socket, cause as NodeJS.ErrnoException);
  }
}

function bind(server: Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // The socket is made within the call: nobody else may connect in the moment before its mode is set.
    const umask = process.umask(0o177);
    try {
      server.listen(socket, resolve);
    } finally {
      process.umask(umask);
    }
  });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}

function socketError(socket: string, cause: NodeJS.ErrnoException): ServalError {
  const taken = cause.code === 'EADDRINUSE';
  const denied = cause.code === 'EACCES' || cause.code === 'EPERM' || cause.code === 'EROFS';
  return new ServalError(taken ? 'ERR_CONFLICT' : denied ? 'ERR_NO_PERMISSION' : 'ERR_KERNEL', {
    subject: socket,
    reason: taken ? 'another agent listens there' : cause.message,
    remedy: taken
      ? 'Stop it, or set another `socket`'
      : 'Set `socket` to a path where the agent may make one',
    cause,
  });
}
