/** Images for a file system that is full: a small tmpfs, and a sender that does not say how much will come. */
import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { Cluster, until } from './cluster.fixture.js';
import { ImageWriter } from './images.js';
import { post, rawSession, type RawAnswer } from './raw.fixture.js';

const migration = '0123456789abcdef';

let cluster: Cluster;
let full: string;
beforeEach(async () => {
  cluster = await Cluster.make();
  full = join(cluster.dir, 'full');
  mkdirSync(full);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,nr_inodes=100', 'serval-test', full]);
});
afterEach(async () => {
  execFileSync('umount', [full]);
  await cluster.end();
});

async function send(files: number, size: number): Promise<RawAnswer> {
  const images = { directory: () => Promise.resolve(join(full, 'images')) };
  const { address } = await cluster.server('b', { images });
  const { cert, key } = (await cluster.credentials('a')).current;
  const session = rawSession(address, { cert, key });
  const writer = new ImageWriter();
  const parts = [writer.begin()];
  const content = Buffer.alloc(size, 'image');
  const sum = hash('sha256', content, 'buffer');
  for (let count = 0; count < files; count++)
    parts.push(writer.header(`f${count}`, size), content, writer.sum(sum));
  const answer = await post(session, `/v1/images/${migration}`, Buffer.concat([...parts, writer.end()]));
  session.destroy();
  return answer;
}

it.each([
  ['one large file', 1, 4_000_000],
  ['a large file that nearly fits', 1, (1 << 20) + 1],
  ['many small files', 60, 40_000],
  ['more files than the file system has', 200, 10],
])('names the folder that has no room for %s, and leaves nothing', async (_, files, size) => {
  expect(await send(files, size)).toMatchObject({
    status: 507,
    body: { code: 'ERR_NO_SPACE', subject: join(full, 'images'), remedy: expect.stringContaining('tmpfs') },
  });
  await until('it was removed', () => readdirSync(full).length === 0);
});

it('takes what fits', async () => {
  expect(await send(2, 400_000)).toMatchObject({ status: 200, body: { files: 2 } });
  expect(readdirSync(full)).toEqual(['images']);
});
