import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../options.js';
import { parseOptions } from './options.js';
import { scenarios } from './scenarios.js';

describe('the command line of the simulation', () => {
  it('has defaults', () => {
    expect(parseOptions([])).toEqual({ only: scenarios.map(({ name }) => name), check: false });
  });

  it('takes what it knows', () => {
    const words = ['--svg', 'plots', '--json', 'out.json', '--only', 'even-20,restart-20', '--check'];
    expect(parseOptions(words)).toEqual({
      svg: 'plots',
      json: 'out.json',
      only: ['even-20', 'restart-20'],
      check: true,
    });
  });

  it.each([[['--only', 'odd']], [['--svg']], [['--odd']]])('refuses %j', (args: string[]) =>
    expect(() => parseOptions(args)).toThrow(UsageError),
  );
});
