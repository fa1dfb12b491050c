import { ServalError } from '@serval/api';

/** One record of a capture file. */
export interface PcapRecord {
  /** CLOCK_REALTIME in milliseconds, with the file's full resolution as the fraction */
  time: number;
  /** bytes on the wire */
  length: number;
  /** the captured bytes: fewer than `length` when the snap length cut them */
  data: Buffer;
}

interface Reader {
  u32: (offset: number) => number;
  /** parts of a second in the time stamps */
  perSecond: number;
}

const fileHeader = 24;
const recordHeader = 16;
const ethernet = 1;

/**
 * Reads a pcap file of Ethernet frames, of either byte order, with micro- or nanoseconds. A last record that was cut
 * short (its writer was killed) is left out.
 * @throws ServalError ERR_BAD_INPUT when it is no pcap file, or of another link type
 */
export function readPcap(file: Buffer): PcapRecord[] {
  const reader = readerOf(file);
  const linkType = reader.u32(20) & 0xffff;
  if (linkType !== ethernet) throw badFile(`its link type is ${linkType}, not Ethernet`);
  const records: PcapRecord[] = [];
  for (let offset = fileHeader; offset + recordHeader <= file.length;) {
    const captured = reader.u32(offset + 8);
    const start = offset + recordHeader;
    if (start + captured > file.length) break;
    records.push({
      time: reader.u32(offset) * 1000 + (reader.u32(offset + 4) * 1000) / reader.perSecond,
      length: reader.u32(offset + 12),
      data: file.subarray(start, start + captured),
    });
    offset = start + captured;
  }
  return records;
}

function readerOf(file: Buffer): Reader {
  if (file.length < fileHeader) throw badFile('it is shorter than a file header');
  const little = (offset: number) => file.readUInt32LE(offset);
  const big = (offset: number) => file.readUInt32BE(offset);
  for (const u32 of [little, big]) {
    if (u32(0) === 0xa1b2c3d4) return { u32, perSecond: 1e6 };
    if (u32(0) === 0xa1b23c4d) return { u32, perSecond: 1e9 };
  }
  throw badFile('its first bytes are not those of a pcap file');
}

function badFile(reason: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: 'capture file',
    reason,
    remedy: 'Give a file that tcpdump -w wrote on an Ethernet or veth device',
  });
}
