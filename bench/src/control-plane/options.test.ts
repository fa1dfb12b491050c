import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../options.js';
import { parseOptions } from './options.js';

describe('options of the control plane bench', () => {
  it('are the promised sizes where nothing is said', () => {
    expect(parseOptions([])).toEqual({
      only: ['start', 'latency', 'growth', 'outage'],
      pods: 5_000,
      services: 1_000,
      nodes: 200,
      check: false,
    });
  });

  it('are read', () => {
    const args = [
      '--only',
      'growth',
      '--pods',
      '50',
      '--services',
      '10',
      '--nodes',
      '3',
      '--json',
      'f',
      '--check',
    ];
    expect(parseOptions(args)).toEqual({
      only: ['growth'],
      pods: 50,
      services: 10,
      nodes: 3,
      json: 'f',
      check: true,
    });
  });

  it.each([['--only', 'x'], ['--pods', '0'], ['--nodes', 'many'], ['--what']])('refuse %s %s', (...args) => {
    expect(() => parseOptions(args)).toThrow(UsageError);
  });
});
