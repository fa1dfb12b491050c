import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { addressBytes, addressText, canonicalAddress, isGroupOrNobody, isMapped } from './address.js';

describe('addresses', () => {
  it.each([
    ['10.1.2.3', '00000000000000000000ffff0a010203'],
    ['::ffff:10.1.2.3', '00000000000000000000ffff0a010203'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::1:0:0:1', '20010db8000000000001000000000001'],
    ['fd00:1:1::2', 'fd000001000100000000000000000002'],
  ])('reads %s', (text, hex) => {
    expect(addressBytes(text).toString('hex')).toBe(hex);
  });

  it.each(['10.1.2', '10.1.2.256', 'fe80::1%eth0', '', 'localhost', '1::2::3'])('refuses "%s"', (text) => {
    expect(() => addressBytes(text)).toThrow(expect.objectContaining({ code: 'ERR_BAD_INPUT' }));
  });

  it.each([
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ])('writes %s as RFC 5952 wants it', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  it.each(['224.0.0.251', '239.255.255.250', '255.255.255.255', '0.0.0.0', 'ff02::fb', '::'])(
    '%s is no single end',
    (text) => expect(isGroupOrNobody(addressBytes(text))).toBe(true),
  );

  it.each(['223.255.255.255', '240.0.0.1', '10.255.255.255', 'fe80::1', 'fd00::ff02', '::1'])(
    '%s is one',
    (text) => expect(isGroupOrNobody(addressBytes(text))).toBe(false),
  );

  it('reads back what it writes, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const buffer = Buffer.from(bytes);
        expect(addressBytes(addressText(buffer)).equals(buffer)).toBe(true);
        expect(isMapped(buffer)).toBe(addressText(buffer).includes('.'));
      }),
    );
  });
});
