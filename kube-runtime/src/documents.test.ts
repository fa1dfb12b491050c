import { describe, expect, it } from '@jest/globals';
import { hasDocuments, normal, readDocuments, replaceDocument, specOf } from './documents.js';
import { node, nodeText, podText, slice } from './testing.fixture.js';

describe('readDocuments', () => {
  it('reads several documents, with defaults and the namespace', () => {
    const text = `# hosts\n---\n${nodeText('host-1')}---\n# nothing\n---\n${podText('redis-0')}`;
    const documents = readDocuments('f.yaml', text);
    expect(documents.map(({ number, key, problems }) => [number, key, problems])).toEqual([
      [1, 'ServalNode host-1', []],
      [2, 'ServalPod default/redis-0', []],
    ]);
    expect(documents[1]?.object).toMatchObject({
      metadata: { namespace: 'default' },
      spec: { interfaces: ['eth0'] },
    });
  });

  it('takes JSON as well, and drops a status', () => {
    const text = JSON.stringify({ ...node('host-1'), status: { made: 'up' } });
    const [document] = readDocuments('f.json', text);
    expect(document?.object).toEqual(node('host-1'));
  });

  it.each([
    [
      'a wrong address',
      nodeText('h').replace('192.0.2.1:7946', '192.0.2.1'),
      'spec.address',
      /host and port/,
    ],
    ['a wrong range', nodeText('h').replace('10.1.0.0/24', '10.1.0.0/33'), 'spec.podCIDRs[0]', /range/],
    ['an unknown field', nodeText('h').replace('podCIDRs', 'podCidrs'), 'spec.podCidrs', /no such field/],
    ['a missing field', nodeText('h').replace(/, podCIDRs.*]/, ''), 'spec.podCIDRs', /missing/],
    ['a wrong name', nodeText('H_1'), 'metadata.name', /no name/],
    ['another version', nodeText('h').replace('v1alpha1', 'v9'), 'apiVersion', /v1alpha1/],
    ['an unknown kind', 'kind: Pod', 'kind', /no kind/],
    ['no kind', 'a: 1', 'kind', /missing/],
    ['a relative path', podText('p').replace('/run', 'run'), 'spec.netns', /absolute path/],
  ])('names field, reason and remedy of %s', (_, text, field, reason) => {
    const problems = readDocuments('f.yaml', text)[0]?.problems ?? [];
    const found = problems.find((problem) => problem.field === field);
    expect(found).toMatchObject({ file: 'f.yaml', document: 1 });
    expect(found?.reason).toMatch(reason);
    expect(found?.remedy).not.toBe('');
  });

  it.each(['a: [1', 'a: 1\na: 2', '%', '\t- x', '"\\x"', '- - -\n\0', 'x: *y', 'just words', '[1, 2]', '7'])(
    'reports what is no object: %j',
    (text) => {
      const documents = readDocuments('f.yaml', text);
      expect(documents).toHaveLength(1);
      expect(documents[0]?.object).toBeUndefined();
      expect(documents[0]?.problems).not.toHaveLength(0);
    },
  );

  it('takes where a node is', () => {
    const placed = { ...node('h'), spec: { ...node('h').spec, zone: 'a', region: 'north' } };
    expect(readDocuments('f.json', JSON.stringify(placed))).toMatchObject([{ object: placed, problems: [] }]);
  });

  it('does not read again what it is told of', () => {
    const text = `${nodeText('a')}---\n${nodeText('b')}`;
    const [a, b] = readDocuments('f.yaml', text);
    const known = new Map([[b?.mark ?? '', node('b-as-known')]]);
    const [newA, newB] = readDocuments('f.yaml', text.replace('7946', '7947'), known);
    expect(newA?.mark).not.toBe(a?.mark);
    expect(newA?.object).toMatchObject({ spec: { address: '192.0.2.1:7947' } });
    expect(newB).toEqual({
      number: 2,
      key: 'ServalNode b-as-known',
      object: node('b-as-known'),
      problems: [],
      mark: b?.mark,
    });
  });

  it('gives frozen objects', () => {
    const object = readDocuments('f.yaml', nodeText('h'))[0]?.object;
    expect(() => Object.assign(object?.metadata as object, { name: 'x' })).toThrow(TypeError);
  });
});

describe('replaceDocument', () => {
  const text = `# first\n${nodeText('a')}# kept\n---\n${nodeText('b')}---\n# last\n${nodeText('c')}`;

  it('changes one document and leaves the others as they are, comments and all', () => {
    const changed = replaceDocument(text, 'ServalNode b', {
      ...node('b'),
      spec: { ...node('b').spec, zone: 'z' },
    });
    expect(changed.startsWith(`# first\n${nodeText('a')}# kept\n---\n`)).toBe(true);
    expect(changed.endsWith(`---\n# last\n${nodeText('c')}`)).toBe(true);
    expect(readDocuments('', changed).map(({ object }) => object && specOf(object))).toMatchObject([
      {},
      { zone: 'z' },
      {},
    ]);
  });

  it('removes one', () => {
    const changed = replaceDocument(text, 'ServalNode a', undefined);
    expect(readDocuments('', changed).map(({ key }) => key)).toEqual(['ServalNode b', 'ServalNode c']);
  });

  it('adds one at the end, also where the last line has no end', () => {
    const changed = replaceDocument(nodeText('a').trimEnd(), 'ServalNode d', node('d'));
    expect(readDocuments('', changed).map(({ key }) => key)).toEqual(['ServalNode a', 'ServalNode d']);
    expect(readDocuments('', replaceDocument('', 'ServalNode d', node('d')))).toHaveLength(1);
  });

  it('writes what many have in common out for each', () => {
    const many = normal(slice('web-1', 'web', Array<string>(1_000).fill('10.1.0.1')));
    const changed = replaceDocument('', 'EndpointSlice default/web-1', many);
    expect(readDocuments('', changed)).toEqual([
      { number: 1, key: 'EndpointSlice default/web-1', object: many, problems: [] },
    ]);
  });

  it('keeps a document that can not be read', () => {
    const changed = replaceDocument(`a: [\n---\n${nodeText('a')}`, 'ServalNode a', undefined);
    expect(changed).toBe('a: [\n');
    expect(hasDocuments(changed)).toBe(true);
    expect(hasDocuments('# nothing\n---\n')).toBe(false);
  });
});
