import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { addressFamily, canonical, isNobody } from './addresses.js';

describe('addresses of services', () => {
  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['0:0:0:0:0:0:0:0', '::'],
  ])('writes %s as %s', (text, expected) => {
    expect(canonical(text)).toBe(expected);
  });

  it.each([
    '',
    '10.1.2',
    '10.1.2.256',
    '010.1.2.3',
    'fe80::1%eth0',
    '1::2::3',
    '1:2:3',
    '1.2.3.4::',
    'web',
    '12345::',
  ])('takes "%s" for no address', (text) => {
    expect(canonical(text)).toBeUndefined();
  });

  it('writes each address in the one form, however it was written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 0, 0, 1, 0xffff, 0x20), { minLength: 8, maxLength: 8 }),
        (words) => {
          const long = words.map((word) => word.toString(16).padStart(4, '0').toUpperCase()).join(':');
          const text = canonical(long) as string;
          expect(addressFamily(text)).not.toBe(0);
          expect(canonical(text)).toBe(text);
          expect(canonical(words.map((word) => word.toString(16)).join(':'))).toBe(text);
        },
      ),
    );
  });

  it.each(['0.0.0.0', '127.0.0.1', '224.0.0.1', '239.1.1.1', '255.255.255.255', '::', '::1', 'ff02::fb'])(
    '%s is nobody',
    (text) => {
      expect(isNobody(text)).toBe(true);
    },
  );

  it.each(['10.96.0.1', '223.255.255.255', '240.0.0.1', 'fd00::1', '::2'])('%s is somebody', (text) => {
    expect(isNobody(text)).toBe(false);
  });
});
