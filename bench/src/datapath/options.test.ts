import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../options.js';
import { parseOptions } from './options.js';

describe('the command line of the data plane bench', () => {
  it('has defaults', () => {
    const options = {
      rounds: 5,
      only: ['packet', 'network', 'apply'],
      check: false,
    };
    expect(parseOptions([])).toEqual(options);
  });

  it('takes what it knows', () => {
    const options = parseOptions([
      '--rounds',
      '7',
      '--only',
      'apply,packet',
      '--json',
      'out.json',
      '--check',
    ]);
    expect(options).toMatchObject({ rounds: 7, only: ['apply', 'packet'], json: 'out.json', check: true });
  });

  it.each([[['--rounds', '0']], [['--only', 'x']], [['--odd']]])('refuses %j', (args: string[]) =>
    expect(() => parseOptions(args)).toThrow(UsageError),
  );
});
