import { describe, expect, it } from '@jest/globals';
import { appendFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServalMigration } from '@serval/api';
import { DirectoryStore, type DirectoryOptions } from './directory.js';
import { NodeDirectory } from './nodes.js';
import type { ResourceProblem } from './store.js';
import {
  migration,
  node,
  nodeText,
  pod,
  podText,
  service,
  slice,
  until,
  withDirectory,
} from './testing.fixture.js';

interface Seen {
  store: DirectoryStore;
  directory: string;
  problems: ResourceProblem[];
  /** `added a` */
  nodes: string[];
}

function withStore(
  work: (seen: Seen) => Promise<void>,
  options: Partial<DirectoryOptions> = {},
  prepare: (directory: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  return withDirectory(async (directory) => {
    await prepare(directory);
    const problems: ResourceProblem[] = [];
    const onProblem = (problem: ResourceProblem): number => problems.push(problem);
    const store = await DirectoryStore.open({ directory, onProblem, ...options });
    const nodes: string[] = [];
    store.watch('ServalNode', ({ type, object }) => nodes.push(`${type} ${object.metadata.name}`));
    try {
      await work({ store, directory, problems, nodes });
    } finally {
      await store.close();
    }
  });
}

describe('DirectoryStore reads', () => {
  it('what is there, before it opens, and tells a new watcher', () =>
    withStore(
      ({ store, nodes }) => {
        expect(nodes).toEqual(['added a']);
        expect(store.get('ServalNode', 'a')).toMatchObject({ spec: { address: '192.0.2.1:7946' } });
        expect(store.get('ServalPod', 'default/p')).toBeDefined();
        expect(store.get('ServalPod', 'p')).toBeUndefined();
        return Promise.resolve();
      },
      {},
      (directory) => writeFile(join(directory, 'all.yaml'), `${nodeText('a')}---\n${podText('p')}`),
    ));

  it('files that come, change, are renamed and go; others are left alone', () =>
    withStore(async ({ directory, nodes, problems }) => {
      const file = join(directory, 'n.yaml');
      await writeFile(join(directory, 'README.md'), 'kind: [');
      await writeFile(join(directory, '.n.yaml.swp'), 'kind: [');
      await writeFile(file, nodeText('a'));
      await until('added', () => nodes.length === 1);
      await writeFile(file, nodeText('a', '192.0.2.5:1'));
      await until('modified', () => nodes.length === 2);
      await rename(file, join(directory, 'm.yml'));
      await writeFile(join(directory, 'z.yaml'), nodeText('z'));
      await until('z', () => nodes.includes('added z'));
      await rm(join(directory, 'm.yml'));
      await until('deleted', () => nodes.at(-1) === 'deleted a');
      expect(nodes.filter((event) => event.endsWith(' a'))).toEqual(['added a', 'modified a', 'deleted a']);
      expect(problems).toEqual([]);
    }));

  it('a file that is written bit by bit once, when it is quiet', () =>
    withStore(
      async ({ directory, nodes, problems }) => {
        const text = nodeText('a');
        for (let end = 0; end < text.length; end += 20) {
          await writeFile(join(directory, 'n.yaml'), text.slice(0, end));
          await sleep(10);
        }
        await writeFile(join(directory, 'n.yaml'), text);
        await until('added', () => nodes.length > 0);
        expect([nodes, problems]).toEqual([['added a'], []]);
      },
      { quietMs: 300, relistMs: 2 },
    ));

  it('on in spite of an invalid file, tells why, and takes it when it is mended', () =>
    withStore(async ({ store, directory, nodes, problems }) => {
      const file = join(directory, 'n.yaml');
      await writeFile(file, nodeText('a'));
      await until('added', () => nodes.length === 1);
      await writeFile(file, nodeText('a', 'nowhere'));
      await until('the problem', () => problems.length > 0);
      expect(problems).toMatchObject([{ file, document: 1, field: 'spec.address' }]);
      expect(store.problems).toBe(1);
      await writeFile(file, '');
      await until('the second problem', () => problems.length > 1);
      expect(store.get('ServalNode', 'a')).toMatchObject({ spec: { address: '192.0.2.1:7946' } });
      await writeFile(file, nodeText('a', '192.0.2.5:1'));
      await until('mended', () => nodes.length === 2);
      expect(nodes).toEqual(['added a', 'modified a']);
    }));

  it('what the kernel does not tell, by listing now and then', () =>
    withStore(
      async ({ directory, nodes }) => {
        await writeFile(join(directory, 'n.yaml'), nodeText('a'));
        await until('added', () => nodes.length === 1);
        await rm(join(directory, 'n.yaml'));
        await until('deleted', () => nodes.length === 2);
      },
      { relistMs: 20, notify: false },
    ));

  it('files whose clock is wrong', () =>
    withStore(async ({ directory, nodes }) => {
      const file = join(directory, 'n.yaml');
      await writeFile(file, nodeText('a'));
      await utimes(file, new Date(), new Date(Date.now() + 86_400_000));
      await until('added', () => nodes.length === 1);
    }));

  it('no empty directory where the directory is gone', () =>
    withStore(
      async ({ store, directory, nodes, problems }) => {
        await store.apply(node('a'));
        await rename(directory, `${directory}-away`);
        await until('the problem', () => problems.length > 0);
        expect(nodes).toEqual(['added a']);
        await rename(`${directory}-away`, directory);
      },
      { relistMs: 20 },
    ));

  it('a folder in the place of a file as a problem', () =>
    withStore(async ({ directory, problems, nodes }) => {
      await mkdir(join(directory, 'x.yaml'));
      await until('the problem', () => problems.length > 0);
      await writeFile(join(directory, 'n.yaml'), nodeText('a'));
      await until('added', () => nodes.length === 1);
    }));

  it('on when a handler throws', () =>
    withStore(async ({ store, nodes, problems }) => {
      store.watch('ServalNode', () => {
        throw new Error('handler of the test');
      });
      await store.apply(node('a'));
      expect(nodes).toEqual(['added a']);
      expect(problems.map(({ reason }) => reason)).toEqual(['handler of the test']);
    }));
});

/** A file is taken at once, or not before this is over. */
const longQuiet = { quietMs: 60_000, relistMs: 60_000 };

function replaceNow(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

describe('DirectoryStore takes a file', () => {
  it('that is renamed into place at once, again and again', () =>
    withStore(async ({ store, directory, nodes }) => {
      const file = join(directory, 'n.yaml');
      for (let i = 1; i <= 50; i += 1) {
        replaceNow(file, nodeText('a', `192.0.2.1:${i}`));
        await until(`change ${i}`, () => nodes.length === i);
        expect(store.get('ServalNode', 'a')?.spec.address).toBe(`192.0.2.1:${i}`);
      }
    }, longQuiet));

  // Without a pause, so that the store sees the end only, with all that the kernel has told.
  it.each<[string, (file: string) => void]>([
    ['created and written', (file) => writeFileSync(`${file}.yaml`, nodeText('b'))],
    [
      'removed and written anew',
      (file) => {
        rmSync(file);
        writeFileSync(file, nodeText('a', '192.0.2.1:1'));
      },
    ],
    [
      'renamed into place and then written on',
      (file) => {
        replaceNow(file, nodeText('a', '192.0.2.1:1'));
        appendFileSync(file, `---\n${nodeText('b')}`);
      },
    ],
    ['renamed into place and empty', (file) => replaceNow(file, '')],
  ])('that is %s when it is quiet, not at once', (_, write) =>
    withStore(
      async ({ directory, nodes, problems }) => {
        write(join(directory, 'n.yaml'));
        // Longer than what is renamed takes, which comes after it.
        for (let i = 1; i <= 5; i += 1) {
          replaceNow(join(directory, 'known.yaml'), nodeText('known', `192.0.2.1:${i}`));
          await until('known', () => nodes.filter((event) => event.endsWith('known')).length === i);
        }
        expect(nodes.filter((event) => !event.endsWith('known'))).toEqual(['added a']);
        expect(problems).toEqual([]);
      },
      longQuiet,
      (directory) => writeFile(join(directory, 'n.yaml'), nodeText('a')),
    ),
  );

  it('of one service without a word of the others', () =>
    withStore(
      async ({ store, directory }) => {
        const seen: string[] = [];
        store.watch('EndpointSlice', ({ type, object: { metadata, endpoints } }) =>
          seen.push(`${type} ${metadata.name}: ${endpoints.map(({ addresses }) => addresses[0]).join()}`),
        );
        expect(seen).toHaveLength(300);
        seen.length = 0;
        replaceNow(join(directory, 'web-7.json'), JSON.stringify(slice('web-7', 'web', ['10.2.0.1'])));
        await until('the change', () => seen.length > 0);
        await rm(join(directory, 'web-8.json'));
        await until('the removal', () => seen.length > 1);
        expect(seen).toEqual(['modified web-7: 10.2.0.1', 'deleted web-8: 10.1.0.8']);
        expect(store.list('ServalService')).toEqual([service('web')]);
      },
      {},
      async (directory) => {
        await writeFile(join(directory, 'web.json'), JSON.stringify(service('web')));
        for (let i = 0; i < 300; i += 1)
          await writeFile(
            join(directory, `web-${i}.json`),
            JSON.stringify(slice(`web-${i}`, 'web', [`10.1.${i >> 8}.${i & 255}`])),
          );
      },
    ));

  it('as not removed where its directory is gone, also when it is looked for', () =>
    withStore(
      async ({ store, directory, nodes, problems }) => {
        await store.apply(node('a'));
        const away = `${directory}-away`;
        await rename(directory, away);
        await rm(join(away, 'servalnode_a.yaml'));
        await until('the problem', () => problems.some(({ reason }) => reason.includes('stays in use')));
        expect(nodes).toEqual(['added a']);
        await rename(away, directory);
        await until('the removal', () => nodes.includes('deleted a'));
      },
      { quietMs: 5, relistMs: 20 },
    ));
});

describe('DirectoryStore writes', () => {
  it('an object, with an identity, and tells it once', () =>
    withStore(async ({ store, directory, nodes }) => {
      const applied = await store.apply(node('a'));
      expect(applied.metadata).toMatchObject({ name: 'a', uid: expect.any(String) });
      expect(store.get('ServalNode', 'a')).toBe(applied);
      expect(await store.apply(node('a'))).toBe(applied);
      expect(nodes).toEqual(['added a']);
      expect((await readdir(directory)).sort()).toEqual(['servalnode_a.yaml', 'status']);
    }));

  it('into the file that has it, and leaves the rest of that alone', () =>
    withStore(
      async ({ store, directory }) => {
        await store.apply(node('b', ['10.7.0.0/24']));
        const text = await readFile(join(directory, 'all.yaml'), 'utf8');
        expect(text.startsWith(`# ours\n${nodeText('a')}---\n`)).toBe(true);
        expect(store.get('ServalNode', 'b')?.spec.podCIDRs).toEqual(['10.7.0.0/24']);
        await store.delete('ServalNode', 'b');
        expect(await readFile(join(directory, 'all.yaml'), 'utf8')).toBe(`# ours\n${nodeText('a')}`);
      },
      {},
      (directory) => writeFile(join(directory, 'all.yaml'), `# ours\n${nodeText('a')}---\n${nodeText('b')}`),
    ));

  it('nothing that is invalid', () =>
    withStore(async ({ store, directory }) => {
      const wrong = { ...node('a'), spec: { ...node('a').spec, address: 'x' } };
      await expect(store.apply(wrong)).rejects.toMatchObject({
        code: 'ERR_BAD_INPUT',
        subject: 'spec.address of ServalNode a',
      });
      const nameless = { ...node('../../etc/x') };
      await expect(store.apply(nameless)).rejects.toMatchObject({ code: 'ERR_BAD_INPUT' });
      expect(await readdir(directory)).toEqual(['status']);
    }));

  it('slices, without what is not used, and services with their status', () =>
    withStore(async ({ store, directory }) => {
      const plain = slice('web-1', 'web', ['10.1.0.1']);
      const hinted = plain.endpoints.map((endpoint) => ({ ...endpoint, hints: {} }));
      const applied = await store.apply<'EndpointSlice'>({ ...plain, endpoints: hinted });
      expect(applied.endpoints).toEqual([{ addresses: ['10.1.0.1'], conditions: { ready: true } }]);
      await expect(store.patchStatus('EndpointSlice', 'default/web-1', {} as never)).rejects.toMatchObject({
        code: 'ERR_BAD_INPUT',
        reason: expect.stringContaining('no status'),
      });
      await store.apply(service('web'));
      await store.patchStatus('ServalService', 'default/web', { conditions: [] });
      const again = await DirectoryStore.open({ directory });
      expect(again.get('EndpointSlice', 'default/web-1')).toEqual(applied);
      expect(again.get('ServalService', 'default/web')).toMatchObject({ status: { conditions: [] } });
      await again.close();
    }));

  it('no other spec into a migration', () =>
    withStore(async ({ store }) => {
      await store.apply(migration('m'));
      await expect(store.apply(migration('m', 'host-3'))).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
      expect(store.get('ServalMigration', 'default/m')?.spec.targetNode).toBe('host-2');
    }));

  it('deletes with the status, so that the next of that name begins anew', () =>
    withStore(async ({ store, directory }) => {
      await store.apply(migration('m'));
      await store.patchStatus('ServalMigration', 'default/m', { phase: 'hold' });
      expect(await store.delete('ServalMigration', 'default/m')).toBe(true);
      expect(await store.delete('ServalMigration', 'default/m')).toBe(false);
      expect(store.get('ServalMigration', 'default/m')).toBeUndefined();
      await store.apply(migration('m'));
      expect(store.get('ServalMigration', 'default/m')).not.toHaveProperty('status');
      expect(await readdir(join(directory, 'status'))).toEqual([]);
    }));

  it('a status that is merged, kept over a new spec and a restart', () =>
    withStore(async ({ store, directory }) => {
      await store.apply(pod('p'));
      await store.apply(migration('m'));
      await store.patchStatus('ServalMigration', 'default/m', {
        phase: 'hold',
        lost: { foreign: 1 },
        reason: 'x',
      });
      await store.patchStatus('ServalMigration', 'default/m', {
        phase: 'move',
        lost: { unknownPeer: 2 },
        reason: null,
      });
      const expected = { phase: 'move', lost: { foreign: 1, unknownPeer: 2 } };
      expect(store.get('ServalMigration', 'default/m')?.status).toEqual(expected);
      const again = await DirectoryStore.open({ directory });
      expect(again.get('ServalMigration', 'default/m')?.status).toEqual(expected);
      await again.close();
      await expect(store.patchStatus('ServalMigration', 'default/m', { flows: -1 })).rejects.toMatchObject({
        code: 'ERR_BAD_INPUT',
        subject: 'status.flows of ServalMigration default/m',
      });
      await expect(store.patchStatus('ServalMigration', 'default/none', {})).rejects.toMatchObject({
        code: 'ERR_NOT_FOUND',
      });
    }));

  it('a status anew over one that is damaged', () =>
    withStore(async ({ store, directory }) => {
      await store.apply(migration('m'));
      await store.patchStatus('ServalMigration', 'default/m', { phase: 'hold' });
      await writeFile(join(directory, 'status/ServalMigration_default_m.json'), '{"sta');
      await store.patchStatus('ServalMigration', 'default/m', { phase: 'move' });
      expect(store.get('ServalMigration', 'default/m')?.status).toEqual({ phase: 'move' });
    }));
});

async function withAnother(directory: string, work: (other: DirectoryStore) => Promise<void>): Promise<void> {
  const other = await DirectoryStore.open({ directory });
  await work(other).finally(() => other.close());
}

describe('several stores of one directory', () => {
  it('see each other, and lose nothing of what they write at once', () =>
    withStore(({ store, directory }) =>
      withAnother(directory, async (other) => {
        const seen: ServalMigration[] = [];
        other.watch('ServalMigration', ({ object }) => seen.push(object));
        await store.apply(migration('m'));
        await until('the other sees it', () => seen.length === 1);
        const writes = Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? store : other).patchStatus('ServalMigration', 'default/m', {
            lost: { [`r${i}`]: i },
          }),
        );
        await Promise.all(writes);
        const complete = (each: DirectoryStore): boolean =>
          Object.keys(each.get('ServalMigration', 'default/m')?.status?.lost ?? {}).length === 20;
        await until('both have all', () => complete(store) && complete(other));
        const names = ['a', 'b', 'c', 'd'];
        await Promise.all(names.map((name, i) => (i % 2 === 0 ? store : other).apply(node(name))));
        await until('both have the nodes', () =>
          [store, other].every((each) => each.list('ServalNode').length === 4),
        );
      }),
    ));

  it(
    'get over the lock of a process that died',
    () =>
      withStore(async ({ store, directory }) => {
        await writeFile(join(directory, '.lock'), 'left behind');
        await store.apply(node('a'));
        expect(await readdir(directory)).not.toContain('.lock');
      }),
    20_000,
  );
});

describe('NodeDirectory with a store', () => {
  it('follows it', () =>
    withStore(async ({ store }) => {
      const directory = new NodeDirectory();
      const stop = directory.follow(store);
      await store.apply(node('a', ['10.1.0.0/24']));
      expect(directory.hosts('a', '10.1.0.7')).toBe(true);
      expect(directory.addressOf('a')).toBe('192.0.2.1:7946');
      await store.delete('ServalNode', 'a');
      expect(directory.nodeOf('10.1.0.7')).toBeUndefined();
      stop();
      await store.apply(node('b', ['10.1.0.0/24']));
      expect(directory.size).toBe(0);
    }));
});
