import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fold16, sum16, wordsDiff } from './checksum.js';

describe('checksum arithmetic', () => {
  it('sums the example of RFC 1071', () => {
    expect(sum16(Buffer.from('0001f203f4f5f6f7', 'hex'))).toBe(0xddf2);
  });

  it('takes an odd last byte as the upper half of a word', () => {
    expect(sum16(Buffer.from('01', 'hex'))).toBe(0x0100);
  });

  it('gives a difference that turns one sum into the other', () => {
    const words = fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(words, words, (from, to) => {
        const diff = wordsDiff(from, to);
        const sum = (list: number[]): number => fold16(list.reduce((total, word) => total + word, 0));
        // 0 and 0xffff are the same number in ones' complement.
        expect(fold16(sum(from) + diff) % 0xffff).toBe(sum(to) % 0xffff);
      }),
    );
  });

  it('is exactly 0 where nothing changes', () => {
    expect(wordsDiff([1, 0xffffffff], [1, 0xffffffff])).toBe(0);
  });
});
