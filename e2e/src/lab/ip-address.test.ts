import { describe, expect, it } from '@jest/globals';
import { canonicalAddress, formatAddress4, formatAddress6 } from './ip-address.js';

const bytes = (hex: string) => Buffer.from(hex, 'hex');

describe('formatAddress6', () => {
  it.each([
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['fd000001000200000000000000000003', 'fd00:1:2::3'],
    ['fe80000000000000000000000000abcd', 'fe80::abcd'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'], // a single zero group is not shortened
    ['20010000000000010000000000000001', '2001:0:0:1::1'], // the longest run is
    ['20010db800000000000100000000 0001'.replace(' ', ''), '2001:db8::1:0:0:1'], // the first of equal runs is
    ['fd000001000000000000000000000000', 'fd00:1::'],
  ])('spells %s as %s, like the system does', (hex, text) => {
    expect(formatAddress6(bytes(hex))).toBe(text);
    expect(canonicalAddress(text)).toBe(text);
  });

  it('reads at an offset', () => {
    expect(formatAddress6(bytes('ffff00000000000000000000000000000002'), 2)).toBe('::2');
    expect(formatAddress4(bytes('ff0a010203ff'), 1)).toBe('10.1.2.3');
  });
});

describe('canonicalAddress', () => {
  it('gives one spelling', () => {
    expect(canonicalAddress('FD00:0001:0:0::0:3')).toBe('fd00:1::3');
    expect(canonicalAddress('10.1.2.3')).toBe('10.1.2.3');
  });

  it('refuses what is no address', () => {
    expect(() => canonicalAddress('10.1.2')).toThrow(expect.objectContaining({ code: 'ERR_BAD_INPUT' }));
  });
});
