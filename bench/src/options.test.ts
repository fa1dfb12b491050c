import { describe, expect, it } from '@jest/globals';
import { choice, readOptions, UsageError, wholeNumber } from './options.js';

describe('options of benches', () => {
  it('reads what it knows and refuses the rest', () => {
    const known = { json: { type: 'string' } } as const;
    expect(readOptions(['--json', 'file'], known)).toEqual({ json: 'file' });
    for (const args of [['--odd'], ['word'], ['--json']])
      expect(() => readOptions(args, known)).toThrow(UsageError);
  });

  it('takes whole numbers above 0', () => {
    expect(wholeNumber('--rounds', '7')).toBe(7);
    for (const text of ['0', '-1', '1.5', 'x', ''])
      expect(() => wholeNumber('--rounds', text)).toThrow('--rounds');
  });

  it('takes some of what is known, all by default', () => {
    const known = ['a', 'b', 'c'] as const;
    expect(choice('--only', known, undefined)).toBe(known);
    expect(choice('--only', known, 'c,a')).toEqual(['c', 'a']);
    expect(() => choice('--only', known, 'a,x')).toThrow('--only knows a, b, c, not "x"');
  });
});
