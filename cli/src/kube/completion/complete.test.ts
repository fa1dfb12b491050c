import { describe, expect, it } from '@jest/globals';
import { runCli } from '../../commands.js';
import { FakeCluster, refusal } from '../cluster.fixture.js';
import type { ClusterOptions } from '../cluster.js';
import { completionLines } from './complete.js';

const serval = '/apis/serval.io/v1alpha1';

async function complete(
  words: string[],
  prepare: (cluster: FakeCluster) => void = () => undefined,
  socket = '',
): Promise<{ lines: string[]; opened?: ClusterOptions }> {
  const cluster = new FakeCluster();
  cluster.put('/api/v1/namespaces/default/pods/redis-0', {
    metadata: { name: 'redis-0', namespace: 'default' },
    spec: { nodeName: 'n1' },
  });
  cluster.put(`${serval}/servalnodes/n1`, { metadata: { name: 'n1' } });
  prepare(cluster);
  let out = '';
  let opened: ClusterOptions | undefined;
  const code = await runCli(['__complete', ...words], {
    screen: { write: (text) => void (out += text), terminal: false, width: 80 },
    printError: (text) => void (out += text),
    ...{ environment: socket === '' ? {} : { SERVAL_SOCKET: socket }, version: '1' },
    openCluster: (options) => {
      opened = options;
      return Promise.resolve(cluster);
    },
  });
  expect(code).toBe(0);
  const lines = out.split('\n').slice(0, -1);
  expect(lines.pop()).toBe(':4');
  return { lines, ...(opened === undefined ? {} : { opened }) };
}

const wordsOf = ({ lines }: { lines: string[] }): string[] => lines.map((line) => line.split('\t')[0] ?? '');

describe('completion', () => {
  it('offers commands, and what they are for', async () => {
    const { lines } = await complete(['']);
    expect(lines).toContainEqual(expect.stringMatching(/^abort\tGive a migration up/));
    expect(wordsOf(await complete(['ser']))).toEqual(['services']);
    expect(lines.join()).not.toMatch(/__complete/);
  });

  it('offers options of the command and of all', async () => {
    expect(wordsOf(await complete(['flows', '--']))).toEqual(
      expect.arrayContaining(['--pod', '--node', '--output', '--namespace', '--context']),
    );
    expect(wordsOf(await complete(['migrate', '--w']))).toEqual(['--wait']);
  });

  it('offers values that are among few', async () => {
    expect(wordsOf(await complete(['flows', '-o', '']))).toEqual(['json', 'yaml', 'wide']);
  });

  it.each([
    [['migrate', ''], ['redis-0']],
    [['migrate', 'redis-0', ''], []],
    [['migrate', '--wait', ''], ['redis-0']],
    [['migrate', '--to', 'n1', ''], ['redis-0']],
    [['migrate', '--to=n1', 'r'], ['redis-0']],
    [['migrate', '--to', ''], ['n1']],
    [['flows', '--pod', ''], ['default/redis-0']],
    [['flows', '--node', 'x'], []],
    [
      ['status', '--context', ''],
      ['test', 'other'],
    ],
    [['nonsense', ''], expect.arrayContaining(['migrate'])],
    [[], expect.arrayContaining(['migrate'])],
  ])('after %j it offers %j', async (words, expected) => {
    expect(wordsOf(await complete(words))).toEqual(expected);
  });

  it('asks the cluster that the words name', async () => {
    const { opened } = await complete(['-n', 'shop', '--context=c', 'migrate', '']);
    expect(opened).toEqual({ namespace: 'shop', context: 'c' });
    expect((await complete(['mi'])).opened).toBeUndefined();
  });

  it('finds nothing where it may not look', async () => {
    const { lines } = await complete(['migrate', ''], (cluster) =>
      cluster.answers.set('GET /api/v1/namespaces/default/pods', () => {
        throw refusal('pods', 403);
      }),
    );
    expect(lines).toEqual([]);
  });

  it("knows an agent's commands where its socket is named, and asks no cluster", async () => {
    expect(wordsOf(await complete(['res'], undefined, '/s'))).toEqual(['resolve']);
    expect((await complete(['migrate', ''], undefined, '/s')).opened).toBeUndefined();
  });

  it('keeps each answer on its line', () => {
    expect(
      completionLines([{ word: 'a' }, { word: 'b', about: 'B' }, { word: 'ab', about: '' }], 'a'),
    ).toEqual(['a', 'ab', ':4']);
  });
});
