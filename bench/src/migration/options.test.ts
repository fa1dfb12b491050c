import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../options.js';
import { loadNames, parseOptions } from './options.js';

describe('the command line of the migration bench', () => {
  it('has defaults', () => {
    expect(parseOptions([])).toEqual({ moves: 50, rounds: 5, only: loadNames, check: false });
  });

  it('takes what it knows', () => {
    const words = ['--moves', '3', '--rounds', '2', '--only', 'ssh,switch', '--json', 'out.json', '--check'];
    expect(parseOptions(words)).toEqual({
      json: 'out.json',
      moves: 3,
      rounds: 2,
      only: ['ssh', 'switch'],
      check: true,
    });
  });

  it.each([[['--moves', '0']], [['--only', 'redis']], [['--odd']]])('refuses %j', (args: string[]) =>
    expect(() => parseOptions(args)).toThrow(UsageError),
  );
});
