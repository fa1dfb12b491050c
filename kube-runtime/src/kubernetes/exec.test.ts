import { afterEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { KubeConfig } from '@kubernetes/client-node';
import { execInPod, type ExecRequest, type ExecResult } from './exec.js';

/** What a stream of the protocol is. */
const [out, err, end] = [1, 2, 3];
const success = JSON.stringify({ status: 'Success' });
const exited = (code: number): string =>
  JSON.stringify({
    status: 'Failure',
    message: 'no',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });

const request: ExecRequest = { namespace: 'ns', pod: 'p', container: 'c', command: ['tell', 'me more'] };

let server: Server | undefined;
const sockets = new Set<Duplex>();
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise<unknown>((resolve) => (server === undefined ? resolve(0) : server.close(resolve)));
  server = undefined;
});

/** An API server that upgrades and says this; `asked` is the path. */
async function serve(
  answer: (socket: Duplex) => void,
  status = 101,
): Promise<{ config: KubeConfig; asked: () => string }> {
  let asked = '';
  const made = createServer();
  made.on('upgrade', (incoming: IncomingMessage, socket: Duplex) => {
    asked = incoming.url ?? '';
    sockets.add(socket);
    socket.on('error', () => undefined);
    if (status !== 101) return void socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
    const key = `${incoming.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n` +
        'sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n',
    );
    answer(socket);
  });
  server = made;
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  const { port } = made.address() as AddressInfo;
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: 'a', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }],
    users: [{ name: 'a' }],
    contexts: [{ name: 'a', cluster: 'a', user: 'a' }],
    currentContext: 'a',
  });
  return { config, asked: () => asked };
}

/** A binary frame of less than 64 KiB. */
function frame(stream: number, text: string): Buffer {
  const body = Buffer.concat([Buffer.from([stream]), Buffer.from(text)]);
  const length = body.length < 126 ? [body.length] : [126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([0x82, ...length]), body]);
}

async function run(...frames: Array<[stream: number, text: string]>): Promise<ExecResult> {
  const { config } = await serve((socket) =>
    frames.forEach(([stream, text]) => socket.write(frame(stream, text))),
  );
  return execInPod(config, request);
}

describe('a command in a pod', () => {
  it('tells what it said, and asks for exactly what was meant', async () => {
    const { config, asked } = await serve((socket) => {
      socket.write(frame(out, '{"a":'));
      socket.write(frame(err, 'careful'));
      socket.write(frame(out, `"${'x'.repeat(40_000)}"}`));
      socket.write(frame(end, success));
    });
    const result = await execInPod(config, request);
    expect(result).toEqual({ code: 0, out: `{"a":"${'x'.repeat(40_000)}"}`, error: 'careful' });
    expect(asked()).toMatch(/^\/api\/v1\/namespaces\/ns\/pods\/p\/exec\?/);
    const query = new URLSearchParams(asked().split('?')[1]);
    expect([query.getAll('command'), query.get('container'), query.get('stdin')]).toEqual([
      ['tell', 'me more'],
      'c',
      'false',
    ]);
  });

  it('has an exit code', async () => {
    expect(await run([out, 'half'], [end, exited(3)])).toEqual({ code: 3, out: 'half', error: '' });
  });

  it('that could not be started is an error', async () => {
    const failed = JSON.stringify({ status: 'Failure', message: 'no such file', details: {} });
    await expect(run([end, failed])).rejects.toThrow(
      /tell in pod ns\/p: no such file\. See whether the pod runs/,
    );
  });

  it('whose end was not told is an error', async () => {
    const { config } = await serve((socket) => {
      socket.write(frame(out, 'half'));
      socket.end();
    });
    await expect(execInPod(config, request)).rejects.toMatchObject({
      code: 'ERR_UNREACHABLE',
      reason: 'the connection ended before the command did',
    });
  });

  it('is not waited for for ever', async () => {
    const { config } = await serve(() => undefined);
    await expect(execInPod(config, { ...request, timeoutMs: 50 })).rejects.toThrow(/no end after 0\.05 s/);
  });

  it('may be forbidden', async () => {
    const { config } = await serve(() => undefined, 403);
    await expect(execInPod(config, request)).rejects.toMatchObject({
      code: 'ERR_NO_PERMISSION',
      remedy: expect.stringMatching(/pods\/exec/),
    });
  });
});
