import { describe, expect, it } from '@jest/globals';
import { UsageError } from '../options.js';
import { parseOptions } from './options.js';
import { ways } from './variant.js';

describe('the command line of the services bench', () => {
  it('has defaults', () => {
    expect(parseOptions([])).toEqual({
      rounds: 5,
      only: ['sizes', 'program', 'cut'],
      services: [1, 1000, 10_000],
      variants: ways,
      peers: 'auto',
      check: false,
    });
  });

  it('takes what it knows, sizes in their order, and always compares with direct', () => {
    const words =
      '--rounds 2 --only program --services 1000,1,1000 --variants kubeProxyNft,sal --peers shape';
    expect(parseOptions([...words.split(' '), '--json', 'out.json', '--check'])).toEqual({
      json: 'out.json',
      rounds: 2,
      only: ['program'],
      services: [1, 1000],
      variants: ['direct', 'sal', 'kubeProxyNft'],
      peers: 'shape',
      check: true,
    });
  });

  it.each([
    [['--services', '0']],
    [['--services', '1,x']],
    [['--services', '20001']],
    [['--variants', 'ipvs']],
    [['--peers', 'real,shape']],
    [['--peers', 'odd']],
    [['--only', 'x']],
    [['--odd']],
  ])('refuses %j', (args: string[]) => expect(() => parseOptions(args)).toThrow(UsageError));
});
