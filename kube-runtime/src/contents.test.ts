import { describe, expect, it } from '@jest/globals';
import { Contents, type Change } from './contents.js';
import { nodeText, podText, service, slice } from './testing.fixture.js';

const a = 'ServalNode a';
const b = 'ServalNode b';
const both = `${nodeText('a')}---\n${nodeText('b')}`;

function brief(changes: readonly Change[]): string[] {
  return changes.map(({ type, key }) => `${type} ${key}`);
}

function migrationText(target: string, uid = ''): string {
  return `apiVersion: serval.io/v1alpha1
kind: ServalMigration
metadata: {name: m${uid === '' ? '' : `, uid: ${uid}`}}
spec: {workload: {name: x}, targetNode: ${target}}
`;
}

describe('Contents', () => {
  it('tells what came, changed and went, and nothing where nothing did', () => {
    const contents = new Contents();
    expect(brief(contents.setFile('f', both).changes)).toEqual([`added ${a}`, `added ${b}`]);
    expect(brief(contents.setFile('f', both).changes)).toEqual([]);
    const changed = both.replace('192.0.2.1:7946', '192.0.2.9:7946');
    expect(brief(contents.setFile('f', changed).changes)).toEqual([`modified ${a}`]);
    expect(brief(contents.setFile('f', nodeText('b')).changes)).toEqual([`deleted ${a}`]);
    expect(brief(contents.setFile('f', undefined).changes)).toEqual([`deleted ${b}`]);
  });

  it.each([
    ['is invalid', nodeText('a', 'nowhere')],
    ['breaks off', nodeText('a').slice(0, -10)],
    ['is empty', ''],
    ['breaks off in a later document', `${nodeText('a')}---\napiVersion: [`],
  ])('keeps the last good version of a file that %s', (_, text) => {
    const contents = new Contents();
    contents.setFile('f', both);
    const before = contents.get(a);
    const { changes, problems } = contents.setFile('f', text);
    expect(problems).not.toHaveLength(0);
    expect(brief(changes).filter((change) => change !== `deleted ${b}`)).toEqual([]);
    expect(contents.get(a)).toBe(before);
  });

  it('lets go what a valid file does not have, also where another document of it is invalid', () => {
    const contents = new Contents();
    contents.setFile('f', both);
    expect(brief(contents.setFile('f', nodeText('a', 'nowhere')).changes)).toEqual([`deleted ${b}`]);
  });

  it('gives an object of two files to the first, and to the other when that gives it up', () => {
    const contents = new Contents();
    contents.setFile('f', nodeText('a'));
    const { changes, problems, doubles } = contents.setFile('g', nodeText('a', '192.0.2.7:1'));
    expect([changes, problems]).toEqual([[], []]);
    expect(doubles).toMatchObject([
      { owner: 'f', problem: { file: 'g', reason: expect.stringContaining('f') } },
    ]);
    expect(contents.fileOf(a)).toBe('f');
    expect(brief(contents.setFile('f', undefined).changes)).toEqual([`modified ${a}`]);
    expect(contents.get(a)).toMatchObject({ spec: { address: '192.0.2.7:1' } });
  });

  it('hands it on to the first by name of those that have it', () => {
    const contents = new Contents();
    for (const [index, file] of ['m', 'z', 'b'].entries())
      contents.setFile(file, nodeText('a', `h:${index + 1}`));
    const ownerAfter = (file: string): unknown => {
      contents.setFile(file, undefined);
      return contents.fileOf(a);
    };
    expect([ownerAfter('m'), ownerAfter('b'), ownerAfter('z')]).toEqual(['b', 'z', undefined]);
    expect(contents.list('ServalNode')).toEqual([]);
  });

  it('reads only what has changed of a file of several, and keeps the objects of the others', () => {
    const contents = new Contents();
    const text = (...addresses: string[]): string =>
      ['x', 'y', 'z']
        .map((name, index) => JSON.stringify(slice(name, 'web', [addresses[index] ?? '10.1.0.1'])))
        .join('\n---\n');
    const get = (name: string): unknown => contents.get(`EndpointSlice default/${name}`);
    contents.setFile('f', text());
    const before = ['x', 'y', 'z'].map(get);
    expect(brief(contents.setFile('f', text('10.1.0.1', '10.1.0.2')).changes)).toEqual([
      'modified EndpointSlice default/y',
    ]);
    expect(get('x')).toBe(before[0]);
    expect(get('y')).toMatchObject({ endpoints: [{ addresses: ['10.1.0.2'] }] });
    expect(get('z')).toBe(before[2]);
    expect(brief(contents.setFile('f', `${text()}\n`).changes)).toEqual(['modified EndpointSlice default/y']);
    expect(get('z')).toBe(before[2]);
  });

  it('keeps 100,000 endpoints of one service', () => {
    const contents = new Contents();
    contents.setFile('s', JSON.stringify(service('web')));
    for (let i = 0; i < 100; i += 1) {
      const addresses = Array.from({ length: 1_000 }, (_, j) => `10.${i}.${j >> 8}.${j & 255}`);
      const { changes } = contents.setFile(`f${i}`, JSON.stringify(slice(`web-${i}`, 'web', addresses)));
      expect(brief(changes)).toEqual([`added EndpointSlice default/web-${i}`]);
    }
    const slices = contents.list('EndpointSlice') as Array<ReturnType<typeof slice>>;
    const all = slices.flatMap(({ endpoints }) => endpoints.map(({ addresses }) => addresses[0]));
    expect(new Set(all).size).toBe(100_000);
    expect(contents.list('ServalService')).toHaveLength(1);
  });

  it('counts the first of two documents of one name', () => {
    const contents = new Contents();
    const { problems } = contents.setFile('f', `${nodeText('a')}---\n${nodeText('a', '192.0.2.7:1')}`);
    expect(problems).toMatchObject([{ file: 'f', document: 2 }]);
    expect(contents.get(a)).toMatchObject({ spec: { address: '192.0.2.1:7946' } });
  });

  it('does not let an immutable spec change, but lets a new object of that name in', () => {
    const contents = new Contents();
    contents.setFile('f', migrationText('host-2'));
    const { changes, problems } = contents.setFile('f', migrationText('host-3'));
    expect(changes).toEqual([]);
    expect(problems).toMatchObject([{ field: 'spec' }]);
    expect(contents.setFile('f', migrationText('host-3', 'u')).changes).toMatchObject([
      { type: 'modified', object: { spec: { targetNode: 'host-3' } } },
    ]);
  });

  it('shows a status with its object, not with a later one of the same name', () => {
    const contents = new Contents();
    contents.setStatus(a, { uid: 'old', status: { fine: true } });
    contents.setFile('f', nodeText('a'));
    expect(contents.get(a)).toMatchObject({ status: { fine: true } });
    expect(contents.setStatus(a, { uid: 'old', status: { fine: true } })).toBeUndefined();
    expect(contents.setStatus(a, { uid: 'old', status: { fine: false } })?.type).toBe('modified');
    contents.setFile('f', nodeText('a').replace('{name: a}', '{name: a, uid: new}'));
    expect(contents.get(a)).not.toHaveProperty('status');
  });

  it('keeps kinds apart', () => {
    const contents = new Contents();
    contents.setFile('f', `${nodeText('a')}---\n${podText('a')}`);
    expect(contents.list('ServalPod')).toHaveLength(1);
    expect(contents.list('ServalNode')).toHaveLength(1);
    expect(contents.list('ServalMigration')).toEqual([]);
  });

  it('takes 5,000 files in less than the square of them', () => {
    const contents = new Contents();
    const begun = performance.now();
    for (let i = 0; i < 5_000; i += 1) contents.setFile(`f${i}`, nodeText(`n${i}`));
    expect(contents.list('ServalNode')).toHaveLength(5_000);
    expect(performance.now() - begun).toBeLessThan(20_000);
  });
});
