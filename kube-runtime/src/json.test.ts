import { describe, expect, it } from '@jest/globals';
import { readDocuments } from './documents.js';
import { parseJson } from './json.js';

describe('parseJson', () => {
  it.each([
    ['{"a":1}', { a: 1 }],
    ['{"a":{"b":[{"c":1},{"c":2}]},"d":null}', { a: { b: [{ c: 1 }, { c: 2 }] }, d: null }],
    ['---\n{"a":1}\n', { a: 1 }],
    ['--- \n# why\n\n  # more\n{"a": 1}', { a: 1 }],
    ['\n\t{\n  "a": 1\n}\n', { a: 1 }],
    ['{"a":"\\"b\\":1"}', { a: '"b":1' }],
    ['{}', {}],
  ])('reads %j', (text, value) => {
    expect(parseJson(text)).toEqual(value);
  });

  it.each([
    ['no object', '[1]'],
    ['YAML', '{a: 1}'],
    ['what breaks off', '{"a":1'],
    ['a comment behind it', '{"a":1} # why'],
    ['a key twice', '{"a":1,"a":2}'],
    ['a key twice, further in', '{"a":[{"b":1,"b":1}]}'],
    ['an unknown beginning', '----{"a":1}'],
    ['nothing', ''],
    ['what is nested too deeply', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
  ])('leaves %s to the YAML parser', (_, text) => {
    expect(parseJson(text)).toBeUndefined();
  });

  it('hides no problem that YAML has with it', () => {
    const text = '{"kind":"ServalNode","metadata":{"name":"a","name":"b"}}';
    expect(readDocuments('f', text)[0]?.problems[0]?.reason).toMatch(/unique/);
  });
});
