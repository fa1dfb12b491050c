import { describe, expect, it } from '@jest/globals';
import { mkdtemp, readFile, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StateStore, type StateProblem } from './store.js';

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'serval-state-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the next agent finds. */
async function found(
  folder: string,
): Promise<{ records: Record<string, unknown>; problems: StateProblem[] }> {
  const problems: StateProblem[] = [];
  const store = await StateStore.open(folder, { onProblem: (problem) => problems.push(problem) });
  return { records: Object.fromEntries(store.load()), problems };
}

const slots = ['source-1.0.json', 'source-1.1.json'];

/** Two writes of one record: the newer is in the second slot. */
async function twoWrites(folder: string): Promise<StateStore> {
  const store = await StateStore.open(folder);
  await store.write('source-1', { phase: 'start' });
  await store.write('source-1', { phase: 'released' });
  return store;
}

describe('StateStore', () => {
  it('gives back the last of what was written', () =>
    withFolder(async (folder) => {
      const store = await twoWrites(folder);
      await store.write('target-2', ['Ü', null, 3]);
      expect(await found(folder)).toEqual({
        records: { 'source-1': { phase: 'released' }, 'target-2': ['Ü', null, 3] },
        problems: [],
      });
      await store.write('source-1', { phase: 'retired' });
      expect((await found(folder)).records['source-1']).toEqual({ phase: 'retired' });
    }));

  it('goes on where an earlier agent stopped', () =>
    withFolder(async (folder) => {
      await twoWrites(folder);
      for (const phase of ['a', 'b', 'c']) {
        const store = await StateStore.open(folder);
        await store.write('source-1', phase);
        expect((await found(folder)).records).toEqual({ 'source-1': phase });
      }
      expect((await readdir(folder)).sort()).toEqual(slots);
    }));

  it('takes the value as it is when it is asked to, and keeps the order', () =>
    withFolder(async (folder) => {
      const store = await StateStore.open(folder);
      const value = { step: 0 };
      const writes: Array<Promise<void>> = [];
      for (let step = 1; step <= 50; step += 1) {
        value.step = step;
        writes.push(store.write('k', value));
      }
      value.step = -1;
      await Promise.all(writes);
      expect((await found(folder)).records).toEqual({ k: { step: 50 } });
    }));

  it('reads what is short after what was long, whatever the key', () =>
    withFolder(async (folder) => {
      const store = await StateStore.open(folder);
      const key = '../ä/%2E. .0.json';
      for (const text of ['x'.repeat(10_000), 'x'.repeat(10_000), 'y', 'z']) await store.write(key, text);
      expect(await found(folder)).toEqual({ records: { [key]: 'z' }, problems: [] });
      await store.remove(key);
      expect(await readdir(folder)).toEqual([]);
    }));

  it('removes a record and forgets nothing else', () =>
    withFolder(async (folder) => {
      const store = await twoWrites(folder);
      await store.write('peer-3', 1);
      await store.remove('source-1');
      await store.remove('source-1');
      expect((await found(folder)).records).toEqual({ 'peer-3': 1 });
      await store.write('source-1', 'again');
      expect((await found(folder)).records).toEqual({ 'peer-3': 1, 'source-1': 'again' });
    }));

  it('falls back to the write before a torn one, wherever it was torn', () =>
    withFolder(async (folder) => {
      await twoWrites(folder);
      const newer = join(folder, 'source-1.1.json');
      const whole = await readFile(newer);
      // Behind the record there is only room.
      for (let length = 1; length < whole.toString().trimEnd().length; length += 1) {
        await writeFile(newer, whole.subarray(0, length));
        const { records, problems } = await found(folder);
        expect(records).toEqual({ 'source-1': { phase: 'start' } });
        expect(problems).toHaveLength(1);
      }
      await writeFile(newer, whole);
      expect((await found(folder)).records).toEqual({ 'source-1': { phase: 'released' } });
    }));

  it('does not take a record of which a byte is wrong', () =>
    withFolder(async (folder) => {
      await twoWrites(folder);
      const newer = join(folder, 'source-1.1.json');
      await writeFile(newer, (await readFile(newer, 'utf8')).replace('released', 'releasep'));
      const { records, problems } = await found(folder);
      expect(records).toEqual({ 'source-1': { phase: 'start' } });
      expect(problems).toMatchObject([{ file: `${newer}.aside`, reason: expect.stringMatching(/checksum/) }]);
      expect(await readdir(folder)).toContain('source-1.1.json.aside');
    }));

  it.each([
    ['strange.json', '{}'],
    ['strange.0.json', 'words'],
    ['strange.0.json', '{"format":9,"key":"strange","sequence":1,"bytes":2,"crc32":1}\n{}'],
    ['strange.0.json', '{"format":1,"key":"other","sequence":1,"bytes":2,"crc32":2745614147}\n{}'],
    ['%zz.0.json', '{'],
  ])('sets a foreign file aside: %s', (name, text) =>
    withFolder(async (folder) => {
      await twoWrites(folder);
      await writeFile(join(folder, name), text);
      const { records, problems } = await found(folder);
      expect(records).toEqual({ 'source-1': { phase: 'released' } });
      expect(problems).toMatchObject([{ file: join(folder, `${name}.aside`) }]);
      expect((await found(folder)).problems).toEqual([]);
    }),
  );

  it('leaves the record as it was where a write fails, and says so', () =>
    withFolder(async (folder) => {
      const store = await twoWrites(folder);
      // Every write into it finds the disk full; that it can not be cut either makes it uncertain.
      await rm(join(folder, 'source-1.0.json'));
      await symlink('/dev/full', join(folder, 'source-1.0.json'));
      await expect(store.write('source-1', 'more')).rejects.toMatchObject({
        code: 'ERR_NO_SPACE',
        subject: join(folder, 'source-1.0.json'),
        details: { uncertain: true },
      });
      await rm(join(folder, 'source-1.0.json'));
      expect((await found(folder)).records).toEqual({ 'source-1': { phase: 'released' } });
      await store.write('source-1', 'after');
      expect((await found(folder)).records).toEqual({ 'source-1': 'after' });
    }));

  it('passes an empty slot over', () =>
    withFolder(async (folder) => {
      await twoWrites(folder);
      await truncate(join(folder, 'source-1.1.json'), 0);
      await writeFile(join(folder, '%zz.0.json'), '');
      expect(await found(folder)).toEqual({ records: { 'source-1': { phase: 'start' } }, problems: [] });
    }));
});
