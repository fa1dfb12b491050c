import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiVersion, type ServalMigration } from '@serval/api';
import { parse } from 'yaml';
import { runCli } from '../commands.js';

let folder = '';
let socket = '';
let server: Server | undefined;
/** method, path and body of each request */
let asked: Array<[string, string, unknown]> = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-cli-'));
  socket = join(folder, 'agent.sock');
  asked = [];
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true });
});

async function stop(): Promise<void> {
  server?.closeAllConnections();
  await new Promise<unknown>((resolve) => (server === undefined ? resolve(0) : server.close(resolve)));
  server = undefined;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An agent of this test, which answers as it is told to. */
async function agent(answer: Answer): Promise<void> {
  const made = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      asked.push([
        request.method ?? '',
        request.url ?? '',
        body === '' ? undefined : (JSON.parse(body) as unknown),
      ]);
      answer(request, response);
    });
  });
  server = made;
  await new Promise<void>((resolve) => made.listen(socket, resolve));
}

function says(value: unknown, status = 200): Answer {
  return (_, response) => void response.writeHead(status).end(JSON.stringify(value));
}

interface Ran {
  code: number;
  out: string;
  err: string;
}

async function run(words: string[], terminal = false, environment = { SERVAL_SOCKET: socket }): Promise<Ran> {
  const ran: Ran = { code: -1, out: '', err: '' };
  const screen = { write: (text: string) => void (ran.out += text), terminal, width: 80 };
  const printError = (text: string): void => void (ran.err += text);
  ran.code = await runCli(words, { screen, printError, environment, version: '1.2.3' });
  return ran;
}

function migration(phase: string, result?: 'True' | 'False'): ServalMigration {
  const condition = { type: 'Succeeded', reason: 'R', message: 'the restore failed', lastTransitionTime: '' };
  return {
    apiVersion,
    kind: 'ServalMigration',
    metadata: { name: 'm' },
    spec: { workload: { name: 'redis-0' }, targetNode: 'host-2' },
    status: {
      phase,
      migration: '00000000000000aa',
      startedAt: '2026-01-01T00:00:00Z',
      timeline: [{ name: 'dump', startMs: 0, durationMs: 80, frozen: true }],
      flows: 1,
      lost: {},
      conditions: result === undefined ? [] : [{ ...condition, status: result }],
      ...(result === undefined ? {} : { finishedAt: '2026-01-01T00:00:01Z' }),
    },
  };
}

/** Creates the migration, and tells these states to who watches; each element is one connection. */
function moves(...connections: ServalMigration[][]): Answer {
  return ({ method }, response) => {
    if (method === 'POST') return says(migration('prepare'), 201)({} as never, response);
    response.writeHead(200);
    for (const state of connections.shift() ?? []) response.write(`${JSON.stringify(state)}\n`);
    response.end();
  };
}

describe('serval', () => {
  it('prints lists as text, JSON and YAML', async () => {
    await agent(says([]));
    expect(await run(['pods'])).toMatchObject({ code: 0, out: expect.stringMatching(/no pods/), err: '' });
    expect(await run(['flows', '--pod', 'redis-0', '-o', 'json'])).toMatchObject({ code: 0, out: '[]\n' });
    expect(await run(['migrations', '-o', 'yaml'])).toMatchObject({ code: 0, out: '[]\n' });
    expect(asked.map(([, path]) => path)).toEqual([
      '/v1/pods',
      '/v1/flows?pod=default%2Fredis-0',
      '/v1/migrations',
    ]);
  });

  it('shows services, and one of them', async () => {
    const [policy, ports] = [{ attempts: 1 }, [] as unknown[]];
    const one = { name: 'default/cart', virtualIPs: [], policy, inUse: true, ports, problems: [] };
    await agent(says([one]));
    expect(await run(['services'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^SERVICE .*\ndefault\/cart/),
    });
    expect(JSON.parse((await run(['services', '-o', 'json'])).out)).toEqual([one]);
    expect(await run(['services', 'cart'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^default\/cart: locality/),
    });
    expect(parse((await run(['services', 'shop/cart', '-o', 'yaml'])).out)).toEqual(one);
    expect(asked.map(([, path]) => path)).toEqual([
      '/v1/services',
      '/v1/services',
      '/v1/services?name=default%2Fcart',
      '/v1/services?name=shop%2Fcart',
    ]);
  });

  it('resolves a name, and fails where connect() would', async () => {
    const answer = {
      asked: { address: '10.96.0.1', port: 80 },
      protocol: 'tcp',
      outcome: 'refused',
      reason: 'why',
    };
    const view = { name: 'cart', from: 'default/web', problems: [], answers: [{ ...answer, fails: true }] };
    const views = [view, view, { ...view, answers: [{ ...answer, outcome: 'asItIs', fails: false }] }];
    await agent((request, response) => says(views.shift())(request, response));
    const ran = await run(['resolve', 'cart', '--from', 'web', '--port', 'http', '--protocol', 'tcp']);
    expect([ran.code, ran.err]).toEqual([1, '']);
    expect(ran.out).toMatch(/^10\.96\.0\.1:80\/tcp from default\/web: refused/);
    expect((await run(['resolve', '[fd00::1]:80', '-o', 'json'])).code).toBe(1);
    expect((await run(['resolve', 'cart'])).code).toBe(0);
    expect(asked.map(([, path]) => path)).toEqual([
      '/v1/resolve?name=cart&from=default%2Fweb&port=http&protocol=tcp',
      '/v1/resolve?name=%5Bfd00%3A%3A1%5D%3A80',
      '/v1/resolve?name=cart',
    ]);
  });

  it('asks for a migration, and says how to follow it', async () => {
    await agent(moves());
    const ran = await run(['migrate', 'redis-0', '--to', 'host-2', '--mover', 'external', '--name', 'm']);
    expect([ran.code, ran.err]).toEqual([0, '']);
    expect(ran.out).toMatch(/serval migrations m --watch/);
    const body = { workload: 'default/redis-0', targetNode: 'host-2', mover: 'external', name: 'm' };
    expect(asked).toEqual([['POST', '/v1/migrations', body]]);
  });

  it('follows it: plain lines, the timeline, the end', async () => {
    await agent(
      moves([migration('prepare'), migration('hold'), migration('hold'), migration('done', 'True')]),
    );
    const ran = await run(['migrate', 'a/b', '--to', 'host-2', '--watch']);
    expect([ran.code, ran.err]).toEqual([0, '']);
    expect(ran.out.split('\n').map((line) => line.replace(/, after.*/, ''))).toEqual([
      'm: prepare',
      'm: hold',
      expect.stringMatching(/^dump +\|#+\| +\+0\.0 ms +80 ms$/),
      expect.stringMatching(/^ +0 +80 ms$/),
      expect.stringMatching(/# workload frozen/),
      '',
      'm: default/redis-0 to host-2: moved; 1 flows, none lost',
      '',
    ]);
  });

  it('draws over one line on a terminal, and clears it', async () => {
    await agent(moves([migration('hold'), migration('done', 'True')]));
    const { out } = await run(['migrate', 'a/b', '--to', 'host-2', '--watch'], true);
    expect(out.replaceAll('\r\u001b[K', '<')).toMatch(/^<[-\\|/] m: hold \d+\.\d ms/);
    expect(out.lastIndexOf('\u001b[K')).toBeLessThan(out.indexOf('dump'));
  });

  it('prints nothing but the end for programs', async () => {
    await agent(moves([migration('hold'), migration('aborted', 'False')], [migration('aborted', 'False')]));
    const ran = await run(['migrate', 'a/b', '--to', 'host-2', '--watch', '-o', 'json']);
    expect([ran.code, JSON.parse(ran.out)]).toEqual([1, migration('aborted', 'False')]);
    const yaml = await run(['migrations', 'm', '--watch', '-o', 'yaml']);
    expect([yaml.code, parse(yaml.out)]).toEqual([1, migration('aborted', 'False')]);
  });

  it('goes on watching when the agent broke off', async () => {
    await agent(moves([migration('hold')], [], [migration('move'), migration('done', 'True')]));
    const ran = await run(['migrate', 'a/b', '--to', 'host-2', '--watch']);
    expect([ran.code, ran.out.match(/^m: \w+/gm)]).toEqual([0, ['m: hold', 'm: move', 'm: default']]);
  });

  it('waits for an agent that is restarted', async () => {
    await agent(moves([migration('hold')]));
    const running = run(['migrate', 'a/b', '--to', 'host-2', '--watch']);
    while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    await stop();
    // Long enough for the command to find nobody.
    await new Promise((resolve) => setTimeout(resolve, 600));
    await agent(moves([migration('done', 'True')]));
    expect((await running).code).toBe(0);
  });

  it('cancels', async () => {
    await agent(says({}, 202));
    expect((await run(['cancel', 'm'])).code).toBe(0);
    expect(asked).toEqual([['DELETE', '/v1/migrations/m', undefined]]);
  });

  it('shows one migration, and fails where that has', async () => {
    await agent(says(migration('aborted', 'False')));
    const ran = await run(['migrations', 'm']);
    expect([ran.code, ran.out]).toEqual([
      1,
      expect.stringMatching(/not moved \(aborted\): the restore failed/),
    ]);
  });

  it('fails where the agent is not ready', async () => {
    const status = { node: 'n', version: '1', startedAt: '2026-01-01T00:00:00Z', pods: 0, nodes: 1 };
    await agent(says({ ...status, ready: false, checks: [], flows: {}, drops: {}, openMigrations: {} }));
    expect((await run(['status'])).code).toBe(1);
  });

  it.each([
    [409, 1],
    [404, 1],
    [400, 2],
    [500, 1],
  ])('passes on what the agent refuses with %d', async (status, code) => {
    await agent(
      says({ code: 'ERR_X', subject: 'pod x', reason: 'it is\u001b[2J', remedy: 'Do that' }, status),
    );
    expect(await run(['migrate', 'a/b', '--to', 'h'])).toEqual({
      code,
      out: '',
      err: 'serval: pod x: it is?[2J. Do that.\n',
    });
  });

  it.each([['<html>'], [''], ['{"half"']])('does not take %j for an answer', async (text) => {
    await agent((_, response) => void response.writeHead(200).end(text));
    const ran = await run(['flows']);
    expect([ran.code, ran.err]).toEqual([1, expect.stringMatching(/not one of an agent/)]);
  });

  it('says that nobody is there', async () => {
    expect(await run(['status'])).toMatchObject({
      code: 3,
      err: expect.stringContaining(`agent at ${socket}: there is no`),
    });
    expect((await run(['migrations', 'm', '--watch'])).code).toBe(3);
    const other = await run(['status', '--socket', '/nowhere'], false, { SERVAL_SOCKET: socket });
    expect([other.code, other.err]).toEqual([3, expect.stringContaining('agent at /nowhere')]);
  });

  it.each([
    [['bogus']],
    [['migrate', 'x']],
    [['flows', '-o', 'xml']],
    [['migrate', 'x', '--to', 'h', '--mover', 'van']],
    [['resolve']],
    [['resolve', 'x', '--protocol', 'sctp']],
  ])('calls %j wrong usage', async (words) => {
    const ran = await run(words);
    expect([ran.code, ran.out]).toEqual([2, '']);
    expect(ran.err).not.toBe('');
  });

  it('documents its exit codes with every command', async () => {
    for (const words of [['--help'], ['migrate', '--help'], ['flows', '--help']])
      expect(await run(words)).toMatchObject({
        code: 0,
        err: '',
        out: expect.stringMatching(/Exit codes:[^]*not reachable/),
      });
  });
});
