import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServalError, apiVersion, type MigrationRequest, type ServalMigration } from '@serval/api';
import { startLocalApi, type AgentFacade, type LocalApi } from './api.js';
import type { ResolveQuestion } from './services/resolve.js';

let folder = '';
let socket = '';
let api: LocalApi | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-api-'));
  socket = join(folder, 'run/agent.sock');
});
afterEach(async () => {
  await api?.close();
  rmSync(folder, { recursive: true });
});

function moving(phase: string, finished = false): ServalMigration {
  return {
    apiVersion,
    kind: 'ServalMigration',
    metadata: { name: 'm' },
    spec: { workload: { name: 'redis-0' }, targetNode: 'host-2' },
    status: {
      phase,
      migration: '00000000000000aa',
      startedAt: '2026-01-01T00:00:00Z',
      ...(finished ? { finishedAt: '2026-01-01T00:00:01Z' } : {}),
      timeline: [],
      flows: 1,
      lost: {},
      conditions: [],
    },
  };
}

class FakeAgent implements AgentFacade {
  readonly asked: unknown[][] = [];
  current: ServalMigration | undefined = moving('hold');
  watcher: ((migration: ServalMigration | undefined) => void) | undefined;
  failure: Error | undefined;

  #ask(...what: unknown[]): Promise<void> {
    this.asked.push(what);
    return this.failure === undefined ? Promise.resolve() : Promise.reject(this.failure);
  }
  status = async () => {
    await this.#ask('status');
    return { node: 'host-1' } as never;
  };
  flows = async (pod?: string) => {
    await this.#ask('flows', pod);
    const tuple = {
      local: { address: '10.1.0.5', port: 6379 },
      remote: { address: '10.2.0.9', port: 40000 },
    };
    const counters = { packetsOut: 1n, bytesOut: 2n ** 40n, packetsIn: 3n, bytesIn: 4n };
    const names = { pod: 'default/redis-0', flowId: 0xabcn, migration: 2n ** 63n, protocol: 'tcp' as const };
    return [{ ...names, identity: tuple, wire: tuple, state: 'active' as const, ...counters }];
  };
  pods = () => Promise.resolve([]);
  reports = () => [{ node: 'host-2', silentMs: 7 } as never];
  services = (name?: string) => {
    this.asked.push(['services', name]);
    if (this.failure !== undefined) throw this.failure;
    return this.#services();
  };
  *#services() {
    for (const name of ['a/b', 'a/c']) yield { name, ports: [].values() } as never;
  }
  resolve = (question: ResolveQuestion) => {
    this.asked.push(['resolve', question]);
    return { name: question.name, answers: [{ fails: true }].values() } as never;
  };
  migrations = () => (this.current === undefined ? [] : [this.current]);
  migration = (name: string) =>
    name === 'm' || name === 'default/m' || name === '00000000000000aa' ? this.current : undefined;
  watchMigration = (name: string, handler: (migration: ServalMigration | undefined) => void) => {
    this.asked.push(['watch', name]);
    this.watcher = handler;
    return () => (this.watcher = undefined);
  };
  createMigration = async (wanted: MigrationRequest) => {
    await this.#ask('create', wanted);
    return moving('prepare');
  };
  cancelMigration = (name: string) => this.#ask('cancel', name);
  freeze = async (name: string) => {
    await this.#ask('freeze', name);
    return { migration: '00000000000000aa', restoreWithinMs: 20_000 };
  };
  restored = async (name: string) => {
    await this.#ask('restored', name);
    return { migration: '00000000000000aa' };
  };
  abort = (name: string) => this.#ask('abort', name);
}

async function started(errors: unknown[] = []): Promise<FakeAgent> {
  const agent = new FakeAgent();
  api = await startLocalApi(socket, agent, (error) => errors.push(error));
  return agent;
}

function send(method: string, path: string, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath: socket, method, path }, resolve).on('error', reject).end(body);
  });
}

async function call(
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: unknown }> {
  const response = await send(method, path, typeof body === 'string' ? body : JSON.stringify(body));
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode ?? 0, json: JSON.parse(text) };
}

describe('the local API', () => {
  it('tells and does what it is asked', async () => {
    const agent = await started();
    expect(await call('GET', '/v1/status')).toEqual({ status: 200, json: { node: 'host-1' } });
    expect((await call('GET', '/v1/flows?pod=default%2Fredis-0')).json).toMatchObject([
      { flowId: '0000000000000abc', migration: '8000000000000000', bytesOut: 2 ** 40, state: 'active' },
    ]);
    expect((await call('GET', '/v1/pods')).json).toEqual([]);
    expect((await call('GET', '/v1/reports')).json).toEqual([{ node: 'host-2', silentMs: 7 }]);
    expect((await call('GET', '/v1/migrations')).json).toEqual([moving('hold')]);
    expect((await call('GET', '/v1/migrations/m')).json).toEqual(moving('hold'));
    const wanted = { workload: 'default/redis-0', targetNode: 'host-2', mover: 'external' };
    expect(await call('POST', '/v1/migrations', wanted)).toEqual({ status: 201, json: moving('prepare') });
    expect((await call('DELETE', '/v1/migrations/00000000000000aa')).status).toBe(202);
    expect((await call('POST', '/v1/migrations/m/freeze')).json).toMatchObject({ restoreWithinMs: 20_000 });
    expect((await call('POST', '/v1/migrations/a%20b/restored')).status).toBe(200);
    expect((await call('POST', '/v1/migrations/m/abort')).status).toBe(202);
    expect(agent.asked).toEqual([
      ['status'],
      ['flows', 'default/redis-0'],
      ['create', wanted],
      ['cancel', 'm'],
      ['freeze', 'm'],
      ['restored', 'a b'],
      ['abort', 'm'],
    ]);
  });

  it('tells the service table, and what a connect() would get', async () => {
    const agent = await started();
    expect(await call('GET', '/v1/services')).toEqual({
      status: 200,
      json: [
        { name: 'a/b', ports: [] },
        { name: 'a/c', ports: [] },
      ],
    });
    await call('GET', '/v1/services?name=a%2Fb');
    expect(await call('GET', '/v1/resolve?name=b')).toEqual({
      status: 200,
      json: { name: 'b', answers: [{ fails: true }] },
    });
    await call('GET', '/v1/resolve?name=b&from=a%2Fp&port=http&protocol=udp');
    expect(agent.asked).toEqual([
      ['services', undefined],
      ['services', 'a/b'],
      ['resolve', { name: 'b', from: 'host/processes' }],
      ['resolve', { name: 'b', from: 'a/p', port: 'http', protocol: 'udp' }],
    ]);
    agent.failure = new ServalError('ERR_NOT_FOUND', { subject: 's', reason: 'r', remedy: 'm' });
    expect(await call('GET', '/v1/services?name=a%2Fx')).toMatchObject({ status: 404 });
    for (const path of ['/v1/resolve', '/v1/resolve?name=b&protocol=sctp'])
      expect(await call('GET', path)).toMatchObject({ status: 400, json: { code: 'ERR_BAD_INPUT' } });
  });

  it.each([
    ['no JSON', '{', 400, /no JSON/],
    ['no object', '7', 400, /object/],
    ['a missing field', { workload: 'a/b' }, 400, /missing/],
    ['a workload without namespace', { workload: 'b', targetNode: 'h' }, 400, /namespaced name/],
    ['a field too many', { workload: 'a/b', targetNode: 'h', force: true }, 400, /no such field/],
    ['a strange mover', { workload: 'a/b', targetNode: 'h', mover: 'van' }, 400, /van/],
    ['too much', ' '.repeat(70_000), 400, /longer than 65536/],
  ])('refuses %s', async (_, body, status, reason) => {
    const agent = await started();
    const answer = await call('POST', '/v1/migrations', body);
    expect(answer).toMatchObject({ status, json: { code: 'ERR_BAD_INPUT' } });
    expect((answer.json as { reason: string }).reason).toMatch(reason);
    expect(agent.asked).toEqual([]);
  });

  it.each([
    ['GET', '/v1/nothing', 404, 'ERR_NOT_FOUND'],
    ['GET', '/constructor', 404, 'ERR_NOT_FOUND'],
    ['GET', '/v1/migrations/other', 404, 'ERR_NOT_FOUND'],
    ['DELETE', '/v1/migrations/other', 404, 'ERR_NOT_FOUND'],
    ['POST', '/v1/migrations/m/explode', 404, 'ERR_NOT_FOUND'],
    ['DELETE', '/v1/status', 405, 'ERR_BAD_INPUT'],
    ['GET', '/v1/migrations/%E0%A4', 400, 'ERR_BAD_INPUT'],
    ['GET', 'http://[', 404, 'ERR_NOT_FOUND'],
  ])('answers %s %s with %d', async (method, path, status, code) => {
    await started();
    const answer = await call(method, path);
    expect(answer).toMatchObject({ status, json: { code } });
    expect(Object.keys(answer.json as object)).toEqual(['code', 'subject', 'reason', 'remedy']);
  });

  it.each([
    ['ERR_NOT_FOUND', 404],
    ['ERR_CONFLICT', 409],
    ['ERR_NO_SPACE', 507],
    ['ERR_KERNEL', 500],
  ] as const)('turns %s into %d', async (code, status) => {
    const agent = await started();
    agent.failure = new ServalError(code, { subject: 's', reason: 'r', remedy: 'm' });
    expect(await call('POST', '/v1/migrations/m/freeze')).toEqual({
      status,
      json: { code, subject: 's', reason: 'r', remedy: 'm' },
    });
  });

  it('survives a defect, and logs it', async () => {
    const errors: unknown[] = [];
    const agent = await started(errors);
    agent.failure = new TypeError('defect of the test');
    expect(await call('GET', '/v1/status')).toMatchObject({ status: 500, json: { code: 'ERR_INTERNAL' } });
    expect(errors).toEqual([agent.failure]);
  });
});

describe('a watch', () => {
  const states = async (response: IncomingMessage, onFirst: () => void): Promise<unknown[]> => {
    let text = '';
    for await (const chunk of response) {
      if (text === '') onFirst();
      text += String(chunk);
    }
    return text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as ServalMigration).status?.phase);
  };

  it('gives a line for each state, and ends with the migration', async () => {
    const agent = await started();
    const response = await send('GET', '/v1/migrations/00000000000000aa?watch=1');
    const seen = await states(response, () => {
      agent.watcher?.(moving('move'));
      agent.watcher?.(moving('done', true));
      agent.watcher?.(moving('after'));
    });
    expect(seen).toEqual(['hold', 'move', 'done']);
    expect(agent.asked).toEqual([['watch', 'default/m']]);
    expect(agent.watcher).toBeUndefined();
  });

  it('ends at once where it has ended, and where the object goes', async () => {
    const agent = await started();
    agent.current = moving('done', true);
    expect(await states(await send('GET', '/v1/migrations/m?watch=1'), () => undefined)).toEqual(['done']);
    agent.current = moving('hold');
    const response = await send('GET', '/v1/migrations/m?watch=1');
    expect(await states(response, () => agent.watcher?.(undefined))).toEqual(['hold']);
  });

  it('keeps the last state only for who does not read', async () => {
    const agent = await started();
    const response = await send('GET', '/v1/migrations/m?watch=1');
    const bulky = { ...moving('bulky'), metadata: { name: 'm', annotations: { a: 'x'.repeat(100_000) } } };
    for (let i = 0; i < 200; i += 1) agent.watcher?.(bulky);
    agent.watcher?.(moving('done', true));
    const seen = await states(response, () => undefined);
    expect(seen.length).toBeLessThan(100);
    expect(seen.at(-1)).toBe('done');
  });

  it('is over when its reader goes', async () => {
    const agent = await started();
    const response = await send('GET', '/v1/migrations/m?watch=1');
    expect(agent.watcher).toBeDefined();
    response.destroy();
    while (agent.watcher !== undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  });
});

describe('the socket', () => {
  it('is for the user of the agent only, from its first moment', async () => {
    await started();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
  });

  it('is taken over from an agent that was killed, not from one that lives', async () => {
    await started();
    await expect(startLocalApi(socket, new FakeAgent())).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      subject: socket,
    });
    await api?.close();
    writeFileSync(socket, '');
    await started();
    expect((await call('GET', '/v1/status')).status).toBe(200);
  });

  it('does not keep the agent from stopping', async () => {
    await started();
    const idle = connect(socket);
    await new Promise((resolve) => idle.once('connect', resolve));
    const watching = await send('GET', '/v1/migrations/m?watch=1');
    watching.on('error', () => undefined);
    await api?.close();
    api = undefined;
    idle.destroy();
  });
});
