/** Pure: the SYN of a socket as the kernel kept it back, made ready to be sent again. */
import { addressText } from '../../datapath/address.js';
import { sum16 } from '../../datapath/checksum.js';
import type { Endpoint } from '../../datapath/types.js';

export interface OpeningSegment {
  local: Endpoint;
  remote: Endpoint;
  /** whole, its checksum complete: the socket had left that to the device */
  packet: Buffer;
}

const tcp = 6;
const mapped = Buffer.from('00000000000000000000ffff', 'hex');

interface Shape {
  /** length of the IP header */
  header: number;
  /** of the whole packet, as it says itself */
  total: number;
  protocol: number;
  /** where its addresses are, and how long each is */
  addresses: readonly [at: number, size: number];
}

function shapeOf(packet: Buffer): Shape | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20)
    return {
      header: ((packet[0] as number) & 15) * 4,
      total: packet.readUInt16BE(2),
      protocol: packet[9] as number,
      addresses: [12, 4],
    };
  if (version !== 6 || packet.length < 40) return undefined;
  return {
    header: 40,
    total: 40 + packet.readUInt16BE(4),
    protocol: packet[6] as number,
    addresses: [8, 16],
  };
}

/** Undefined where it is no whole TCP segment over IPv4 or IPv6 without extension headers. */
export function openingSegment(packet: Buffer): OpeningSegment | undefined {
  const shape = shapeOf(packet);
  if (shape?.protocol !== tcp || shape.total > packet.length || shape.total < shape.header + 20)
    return undefined;
  const whole = Buffer.from(packet.subarray(0, shape.total));
  const [at, size] = shape.addresses;
  const segment = whole.subarray(shape.header);
  segment.writeUInt16BE(0, 16);
  const pseudo = sum16(whole.subarray(at, at + 2 * size), tcp + segment.length);
  segment.writeUInt16BE(~sum16(segment, pseudo) & 0xffff, 16);
  return {
    local: { address: textOf(whole.subarray(at, at + size)), port: segment.readUInt16BE(0) },
    remote: { address: textOf(whole.subarray(at + size, at + 2 * size)), port: segment.readUInt16BE(2) },
    packet: whole,
  };
}

function textOf(bytes: Buffer): string {
  return addressText(bytes.length === 4 ? Buffer.concat([mapped, bytes]) : bytes);
}
