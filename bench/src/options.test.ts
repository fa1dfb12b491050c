import { describe, expect, it } from '@jest/globals';
import { parseOptions, UsageError } from './options.js';

describe('the command line', () => {
  it('has defaults', () => {
    const options = {
      help: false,
      rounds: 5,
      only: ['packet', 'network', 'apply'],
      check: false,
    };
    expect(parseOptions(['datapath'])).toEqual(options);
  });

  it('takes what it knows', () => {
    const options = parseOptions([
      'datapath',
      '--rounds',
      '7',
      '--only',
      'apply,packet',
      '--json',
      'out.json',
      '--check',
    ]);
    expect(options).toMatchObject({ rounds: 7, only: ['apply', 'packet'], json: 'out.json', check: true });
    expect(parseOptions(['--help']).help).toBe(true);
  });

  it.each([
    [[]],
    [['control']],
    [['datapath', '--rounds', '0']],
    [['datapath', '--only', 'x']],
    [['datapath', '--odd']],
  ])('refuses %j', (args: string[]) => expect(() => parseOptions(args)).toThrow(UsageError));
});
