import { describe, expect, it } from '@jest/globals';
import { readPcap } from './pcap.js';

const frame = Buffer.from('0102030405060708', 'hex');

/** A capture file with one frame of which `wire` bytes were on the wire. */
function capture({
  magic = 0xa1b2c3d4,
  little = true,
  fraction = 123456,
  linkType = 1,
  wire = 60,
} = {}): Buffer {
  const words = [magic, 0x00040002, 0, 0, 192, linkType, 1_700_000_000, fraction, frame.length, wire];
  const header = Buffer.alloc(words.length * 4);
  words.forEach((word, index) =>
    little ? header.writeUInt32LE(word, index * 4) : header.writeUInt32BE(word, index * 4),
  );
  return Buffer.concat([header, frame]);
}

describe('readPcap', () => {
  it.each([
    ['little-endian microseconds', capture()],
    ['big-endian microseconds', capture({ little: false })],
    ['little-endian nanoseconds', capture({ magic: 0xa1b23c4d, fraction: 123456000 })],
    ['big-endian nanoseconds', capture({ magic: 0xa1b23c4d, fraction: 123456000, little: false })],
  ])('reads %s', (_, file) => {
    expect(readPcap(file)).toEqual([{ time: 1_700_000_000_123.456, length: 60, data: frame }]);
  });

  it('reads records up to a last one that was cut short', () => {
    const file = Buffer.concat([capture(), capture().subarray(24)]);
    expect(readPcap(file)).toHaveLength(2);
    expect(readPcap(file.subarray(0, file.length - 1))).toHaveLength(1);
    expect(readPcap(capture().subarray(0, 24))).toEqual([]);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['another kind of file', Buffer.from('#!/bin/sh and some more text to fill it')],
    ['another link type', capture({ linkType: 113 })],
  ])('refuses %s', (_, file) => {
    expect(() => readPcap(file)).toThrow(expect.objectContaining({ code: 'ERR_BAD_INPUT' }));
  });
});
