import { describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jsonPieces, streamJson } from './json-stream.js';

function* items<Item>(...all: Item[]): Generator<Item> {
  yield* all;
}

describe('jsonPieces', () => {
  it.each([
    ['a text', 'a "b"'],
    ['nothing', null],
    ['an empty list', []],
    ['an empty object', {}],
    ['fields that are absent', { a: undefined, b: [1], c: undefined }],
    ['lists in lists', [[[]], [{ a: [{ b: [] }] }, 'x', 7]]],
    ['a plain object', { a: 1, 'b"': { c: null } }],
  ])('says %s as JSON.stringify does', (_, value) => {
    expect([...jsonPieces(value)].join('')).toBe(JSON.stringify(value));
  });

  it('makes an array of what is made while it is written, at any depth', () => {
    const value = items({ name: 'a', ports: [{ replicas: items(1, 2), none: items() }] }, { name: 'b' });
    expect(JSON.parse([...jsonPieces(value)].join(''))).toEqual([
      { name: 'a', ports: [{ replicas: [1, 2], none: [] }] },
      { name: 'b' },
    ]);
  });
});

/** What is written, over a socket, by a reader who may be slow. */
async function over<T>(
  value: unknown,
  read: (response: IncomingMessage, written: Promise<void>) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'serval-stream-'));
  const socketPath = join(folder, 's');
  let written: Promise<void> = Promise.resolve();
  const server = createServer((_, response) => void (written = streamJson(response, 200, value)));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ socketPath }, resolve).on('error', reject).end();
    });
    return await read(response, written);
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  }
}

/** Counts how many of its items were made. */
class Long implements Iterable<unknown> {
  made = 0;
  *[Symbol.iterator](): Generator<unknown> {
    for (let i = 0; i < 100_000; i++) yield { number: ++this.made, text: 'x'.repeat(100) };
  }
}

describe('streamJson', () => {
  it('lets others have their turn', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const text = await over(new Long(), async (response) => {
      let all = '';
      for await (const chunk of response) all += String(chunk);
      return all;
    });
    clearInterval(timer);
    expect(JSON.parse(text)).toHaveLength(100_000);
    expect(turns).toBeGreaterThan(20);
  });

  it('lets others have their turn also where the reader is as quick as can be', async () => {
    const response = Object.assign(new EventEmitter(), {
      destroyed: false,
      writeHead: () => undefined,
      write: () => {
        process.nextTick(() => response.emit('drain'));
        return false;
      },
      end: () => undefined,
    });
    let turns = 0;
    let isOver = false;
    const turn = (): void => void setImmediate(() => isOver || (turns++, turn()));
    turn();
    await streamJson(response as never, 200, new Long());
    isOver = true;
    expect(turns).toBeGreaterThan(100);
  });

  it('makes no more than is read, and ends with its reader', async () => {
    const long = new Long();
    await over(long, async (response, written) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(long.made).toBeLessThan(50_000);
      response.destroy();
      await written;
    });
    expect(long.made).toBeLessThan(50_000);
  });
});
