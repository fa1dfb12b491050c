/** Folders of images from node to node: whole, checked, or not at all. */
import { hash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import fc from 'fast-check';
import type { Endpoint } from '../datapath/types.js';
import type { SignallingClient } from './client.js';
import { Cluster, until } from './cluster.fixture.js';
import { ImageParser, ImageWriter } from './images.js';
import type { ImagesReceiver } from './images-route.js';
import { listImages, writeImages } from './images-send.js';
import { post, rawSession, type RawAnswer } from './raw.fixture.js';

const migration = '0123456789abcdef';
const rejected = (code: string, more: object = {}) => expect.objectContaining({ code, ...more });

let cluster: Cluster;
let source: string;
let target: string;
beforeEach(async () => {
  cluster = await Cluster.make();
  source = join(cluster.dir, 'source');
  target = join(cluster.dir, 'received', 'images');
  mkdirSync(source);
});
afterEach(() => cluster.end());

const directory: ImagesReceiver['directory'] = () => Promise.resolve(target);

async function receiver(images: Partial<ImagesReceiver> = {}): Promise<Endpoint> {
  return (await cluster.server('b', { images: { directory, ...images } })).address;
}

function write(sizes: Record<string, number>): void {
  for (const [name, size] of Object.entries(sizes))
    writeFileSync(join(source, name), Buffer.alloc(size, `${name} of ${size} bytes; `));
}

/** Contents by name. */
function folder(dir: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(dir).map((name) => [name, hash('sha256', readFileSync(join(dir, name)))]),
  );
}

/** What is left where images are received: nothing but whole folders may be. */
function left(): string[] {
  return existsSync(join(target, '..')) ? readdirSync(join(target, '..')) : [];
}

describe('images', () => {
  let client: SignallingClient;
  beforeEach(async () => {
    client = await cluster.client('a');
  });

  it('arrive as they were, of every size, private, without logs', async () => {
    const address = await receiver();
    write({
      'core-1.img': 2_000,
      empty: 0,
      one: 1,
      small: 262_144,
      large: 262_145,
      'pages-1.img': 5_000_001,
    });
    const wanted = folder(source);
    write({ 'dump.log': 10, 'stats-dump': 10, 'criu.pid': 4, 'not-this': 5 });
    const sent = await client.sendImages('b', address, migration, source, { exclude: /^not-/ });
    expect(sent).toMatchObject({ files: 6, bytes: 2_000 + 1 + 262_144 + 262_145 + 5_000_001 });
    expect(folder(target)).toEqual(wanted);
    expect(statSync(join(target, 'pages-1.img')).mode & 0o777).toBe(0o600);
    expect(statSync(join(target, 'core-1.img')).mode & 0o777).toBe(0o600);
    expect(statSync(target).mode & 0o777).toBe(0o700);
    expect(left()).toEqual(['images']);
  });

  it('arrive in thousands', async () => {
    const address = await receiver();
    write(
      Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`fd-${index}.img`, index % 1_500])),
    );
    await client.sendImages('b', address, migration, source);
    expect(folder(target)).toEqual(folder(source));
  });

  it('take the place of those that were sent before', async () => {
    const address = await receiver();
    write({ old: 10 });
    await client.sendImages('b', address, migration, source);
    rmSync(join(source, 'old'));
    write({ new: 10 });
    await client.sendImages('b', address, migration, source);
    expect(readdirSync(target)).toEqual(['new']);
    expect(left()).toEqual(['images']);
  });

  it('say whose they are, of which migration, which part', async () => {
    const asked: unknown[] = [];
    const address = await receiver({
      directory: (...about) => {
        asked.push(about);
        return Promise.resolve(`${target}-${about[2] ?? 'whole'}`);
      },
    });
    write({ file: 10 });
    await client.sendImages('b', address, migration, source);
    await client.sendImages('b', address, migration, source, { part: 'round-1' });
    expect(asked).toEqual([
      ['a', migration, undefined],
      ['a', migration, 'round-1'],
    ]);
    expect(left()).toEqual(['images-round-1', 'images-whole']);
  });

  it('are refused before a byte is written, where the callback says so', async () => {
    const refusal = new ServalError('ERR_NO_PERMISSION', {
      subject: 'images',
      reason: 'no such move',
      remedy: 'none',
    });
    const address = await receiver({ directory: () => Promise.reject(refusal) });
    write({ file: 20_000_000 });
    await expect(client.sendImages('b', address, migration, source)).rejects.toEqual(
      rejected('ERR_NO_PERMISSION', { reason: 'no such move' }),
    );
    expect(left()).toEqual([]);
  });

  it('over a limit are refused, and nothing is left', async () => {
    const address = await receiver({ limits: { files: 2, bytes: 1_000 } });
    write({ a: 1_001 });
    await expect(client.sendImages('b', address, migration, source)).rejects.toEqual(rejected('ERR_LIMIT'));
    write({ a: 1, b: 1, c: 1 });
    await expect(client.sendImages('b', address, migration, source)).rejects.toEqual(rejected('ERR_LIMIT'));
    rmSync(join(source, 'c'));
    expect(await client.sendImages('b', address, migration, source)).toMatchObject({ files: 2 });
    expect(left()).toEqual(['images']);
  });

  it('are sent only where everything in the folder can be', async () => {
    const address = await receiver();
    await expect(client.sendImages('b', address, migration, join(source, 'none'))).rejects.toEqual(
      rejected('ERR_MOVER'),
    );
    write({ file: 10 });
    symlinkSync('file', join(source, 'parent'));
    await expect(client.sendImages('b', address, migration, source)).rejects.toThrow(
      '"parent" is no plain file',
    );
    expect(await client.sendImages('b', address, migration, source, { exclude: /^parent$/ })).toMatchObject({
      files: 1,
    });
    write({ '.hidden': 1 });
    await expect(client.sendImages('b', address, migration, source)).rejects.toThrow('".hidden"');
  });

  it('of a node that goes away in the middle leave nothing', async () => {
    const address = await receiver();
    write({ file: 50_000_000 });
    const sending = client.sendImages('b', address, migration, source);
    await until('some has arrived', () => left().some((name) => name.startsWith('.images')));
    client.close();
    await expect(sending).rejects.toEqual(rejected('ERR_UNREACHABLE'));
    await until('it was removed', () => left().length === 0);
  });

  /** Some of the images have arrived by then. */
  async function giveUpSome(address: Endpoint): Promise<void> {
    write({ file: 50_000_000 });
    const giveUp = new AbortController();
    const sending = client.sendImages('b', address, migration, source, { signal: giveUp.signal });
    await until('some has arrived', () => left().some((name) => name.startsWith('.images')));
    giveUp.abort(new Error('the move was put off'));
    await expect(sending).rejects.toThrow('the move was put off');
  }

  it('can be given up', async () => {
    const address = await receiver();
    await giveUpSome(address);
    await until('it was removed', () => left().length === 0);
    await expect(
      client.sendImages('b', address, migration, source, { signal: AbortSignal.abort(new Error('before')) }),
    ).rejects.toThrow('before');
  });

  it('leave their connection when they were given up: the next take another', async () => {
    const { server, address } = await cluster.server('b', { images: { directory } });
    write({ file: 10 });
    await client.sendImages('b', address, migration, source);
    await client.sendImages('b', address, migration, source);
    expect(server.counters().admitted).toBe(1);
    await giveUpSome(address);
    await client.sendImages('b', address, migration, source);
    expect(server.counters().admitted).toBe(2);
    await until('what was given up was removed', () => left().join() === 'images');
  });

  it('that get no answer are given up', async () => {
    const address = await receiver({ directory: () => new Promise(() => undefined) });
    const hasty = await cluster.client('a', { limits: { stallMs: 100 } });
    write({ file: 10 });
    await expect(hasty.sendImages('b', address, migration, source)).rejects.toEqual(rejected('ERR_TIMEOUT'));
  });

  it('do not keep messages waiting: they have a connection of their own', async () => {
    const { server, address } = await cluster.server('b', { images: { directory } });
    write({ file: 100_000_000 });
    await client.warm('b', address);
    let sent = false;
    const sending = client.sendImages('b', address, migration, source).then(() => (sent = true));
    let answered = 0;
    while (!sent) {
      await client.request('b', address, { kind: 'abort', migration }, { timeoutMs: 1_000 });
      answered++;
    }
    await sending;
    expect(answered).toBeGreaterThan(20);
    expect(server.counters().admitted).toBe(2);
  }, 30_000);
});

describe('a stream of images that is not right', () => {
  const content = Buffer.from('content');
  const sum = hash('sha256', content, 'buffer');

  function stream(change: { name?: string; sum?: Buffer; size?: number; twice?: boolean } = {}): Buffer {
    const writer = new ImageWriter();
    const parts = [writer.begin()];
    for (let count = 0; count < (change.twice === true ? 2 : 1); count++)
      parts.push(
        writer.header(change.name ?? 'file', change.size ?? content.length),
        content,
        writer.sum(change.sum ?? sum),
      );
    return Buffer.concat([...parts, writer.end()]);
  }

  async function send(
    bytes: Buffer,
    options: Parameters<typeof post>[3] & { path?: string } = {},
  ): Promise<RawAnswer> {
    const address = await receiver({ limits: { stallMs: 100 } });
    const { cert, key } = (await cluster.credentials('raw')).current;
    const session = rawSession(address, { cert, key });
    const answer = await post(session, options.path ?? `/v1/images/${migration}`, bytes, options);
    session.destroy();
    await until('nothing unfinished is left', () => left().every((name) => !name.startsWith('.')));
    return answer;
  }

  it('is what the others here are compared with', async () => {
    expect(await send(stream())).toEqual({ status: 200, body: { ok: true, files: 1, bytes: 7 } });
    expect(folder(target)).toEqual({ file: hash('sha256', content) });
  });

  const damaged = (at: number): Buffer => {
    const bytes = stream();
    bytes[at < 0 ? bytes.length + at : at]! ^= 1;
    return bytes;
  };
  it.each<[string, Buffer, string]>([
    ['has a path for a name', stream({ name: '../file' }), 'ERR_BAD_INPUT'],
    ['has a folder for a name', stream({ name: 'a/b' }), 'ERR_BAD_INPUT'],
    ['has a hidden file', stream({ name: '.file' }), 'ERR_BAD_INPUT'],
    ['has the parent for a name', stream({ name: '..' }), 'ERR_BAD_INPUT'],
    ['has a name with a zero', stream({ name: 'a\0b' }), 'ERR_BAD_INPUT'],
    ['has no name', stream({ name: '' }), 'ERR_BAD_INPUT'],
    ['has a long name', stream({ name: 'a'.repeat(256) }), 'ERR_BAD_INPUT'],
    ['has a file twice', stream({ twice: true }), 'ERR_BAD_INPUT'],
    ['has the wrong sum', stream({ sum: Buffer.alloc(32) }), 'ERR_CHECKSUM'],
    ['has a changed content', damaged(8 + 11 + 4), 'ERR_CHECKSUM'],
    ['has a changed name', damaged(8 + 11), 'ERR_CHECKSUM'],
    ['has a changed number of files', damaged(-41), 'ERR_CHECKSUM'],
    ['has a changed trailer', damaged(-1), 'ERR_CHECKSUM'],
    ['has another beginning', damaged(0), 'ERR_BAD_INPUT'],
    [
      'has a part of another kind',
      Buffer.concat([stream().subarray(0, 8), Buffer.from([9])]),
      'ERR_BAD_INPUT',
    ],
    ['claims more than there can be', stream({ size: 2 ** 50 }), 'ERR_LIMIT'],
    ['is empty', Buffer.alloc(0), 'ERR_BAD_INPUT'],
    ['ends after its first file', stream().subarray(0, 8 + 11 + 4 + 7 + 32), 'ERR_BAD_INPUT'],
    ['ends in its trailer', stream().subarray(0, -1), 'ERR_BAD_INPUT'],
    ['goes on after its end', Buffer.concat([stream(), Buffer.from([0])]), 'ERR_BAD_INPUT'],
  ])('is refused when it %s', async (_, bytes, code) => {
    expect(await send(bytes)).toMatchObject({ body: { ok: false, code } });
    expect(left()).toEqual([]);
  });

  it('does not take the place of one that was right', async () => {
    await send(stream());
    expect(await send(stream({ sum: Buffer.alloc(32) }))).toMatchObject({ body: { code: 'ERR_CHECKSUM' } });
    expect(folder(target)).toEqual({ file: hash('sha256', content) });
  });

  it('is given up when it stops in the middle', async () => {
    expect((await send(stream().subarray(0, 20), { end: false })).status).not.toBe(200);
    expect(left()).toEqual([]);
  });

  it.each([
    `/v1/images/`,
    `/v1/images/${migration}/../x`,
    `/v1/images/${migration}/a/b`,
    `/v1/images/${'F'.repeat(16)}`,
  ])('is refused at %s', async (path) => {
    expect(await send(stream(), { path })).toMatchObject({ status: 400, body: { code: 'ERR_BAD_INPUT' } });
  });

  it('is refused at once when it will not fit', async () => {
    const answer = await send(stream(), { headers: { 'x-serval-bytes': 2 ** 52 } });
    expect(answer).toMatchObject({ status: 507, body: { code: 'ERR_NO_SPACE', subject: target } });
    expect(left()).toEqual([]);
  });
});

describe('the stream', () => {
  it('is read alike, however it was cut', async () => {
    const contents = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        contents,
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        async (files, cuts) => {
          const writer = new ImageWriter();
          const parts = [writer.begin()];
          for (const [index, file] of files.entries())
            parts.push(
              writer.header(`f${index}`, file.length),
              Buffer.from(file),
              writer.sum(Buffer.alloc(32, index)),
            );
          const bytes = Buffer.concat([...parts, writer.end()]);
          const read: Array<{ name: string; content: number[]; sum?: number }> = [];
          const parser = new ImageParser(
            {
              file: (name) => void read.push({ name, content: [] }),
              content: (piece) => void read.at(-1)?.content.push(...piece),
              sum: (sum) => void Object.assign(read.at(-1) ?? {}, { sum: sum[31] }),
            },
            { files: 10, bytes: 1_000 },
          );
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const length = cuts[turn % cuts.length] as number;
            await parser.push(bytes.subarray(at, at + length));
            at += length;
          }
          expect(parser.end().files).toBe(files.length);
          expect(read).toEqual(
            files.map((file, index) => ({ name: `f${index}`, content: [...file], sum: index })),
          );
        },
      ),
    );
  });

  it('is made no faster than it is taken', async () => {
    write({ large: 3_000_000, a: 200_000, b: 200_000, c: 200_000 });
    let [writing, most, longest] = [0, 0, 0];
    await writeImages(await listImages(source), async (piece) => {
      most = Math.max(most, ++writing);
      longest = Math.max(longest, piece.length);
      await new Promise((resolve) => setImmediate(resolve));
      writing--;
    });
    expect(most).toBe(1);
    expect(longest).toBeLessThan(1 << 20);
  });

  it('ends with an error when a file changes under way', async () => {
    write({ small: 10, zlarge: 1_000_000 });
    const list = await listImages(source);
    writeFileSync(join(source, 'small'), 'longer than before');
    await expect(writeImages(list, () => Promise.resolve())).rejects.toEqual(rejected('ERR_MOVER'));
    write({ small: 10, zlarge: 500_000 });
    await expect(writeImages(list, () => Promise.resolve())).rejects.toThrow('it became shorter');
  });
});
