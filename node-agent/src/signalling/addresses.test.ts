import { isIPv4, isIPv6 } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { addressText, canonicalAddress, isMapped } from '../datapath/address.js';
import { addressFamily } from './addresses.js';

/** The slow way to say the same. */
function expected(text: string): 0 | 4 | 6 {
  if (isIPv4(text)) return 4;
  return isIPv6(text) && !text.includes('%') && canonicalAddress(text) === text ? 6 : 0;
}

describe('addresses in canonical form', () => {
  it.each(['0.0.0.0', '10.1.2.3', '255.255.255.255'])('takes %s as IPv4', (text) => {
    expect(addressFamily(text)).toBe(4);
  });

  it.each(['::', '::1', '1::', '2001:db8::1', '2001:db8:0:1:1:1:1:1', '1:2:3:4:5:6:7:8', '::1:0:0:0:1'])(
    'judges %s as the slow way does',
    (text) => {
      expect(addressFamily(text)).toBe(expected(text));
    },
  );

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.4\n',
    ':',
    ':::',
    '1:',
    ':1',
    '::1::',
    '1::2::3',
    '2001:DB8::1',
    '2001:0db8::1',
    '::ffff:1.2.3.4',
    '::ffff:102:304',
    '::1.2.3.4',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::',
    'fe80::1%eth0',
    '0:0:0:0:0:0:0:1',
    '::12345',
    '1:0:0:2:0:0:0:3',
    'g::1',
    7,
    null,
    undefined,
  ])('refuses %p', (value) => {
    expect(addressFamily(value)).toBe(0);
  });

  it('takes every address as it is written here, and nothing else of the kind', () => {
    // Groups that are often zero, short or long, since that is where the forms differ.
    const word = fc.oneof(fc.constant(0), fc.constant(0), fc.nat(15), fc.nat(0xffff), fc.constant(0xffff));
    const words = fc.array(word, { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(
        words,
        fc.nat(40),
        fc.constantFrom(':', '0', '', 'a', '::', '.'),
        (groups, at, inserted) => {
          const bytes = Buffer.alloc(16);
          groups.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
          const text = addressText(bytes);
          expect(addressFamily(text)).toBe(isMapped(bytes) ? 4 : 6);
          const changed = text.slice(0, at) + inserted + text.slice(at + 1);
          expect([changed, addressFamily(changed)]).toEqual([changed, expected(changed)]);
          const plain = groups.map((group) => group.toString(16)).join(':');
          expect([plain, addressFamily(plain)]).toEqual([plain, expected(plain)]);
        },
      ),
      { numRuns: 20_000 },
    );
  });
});
