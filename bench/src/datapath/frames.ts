/** Ethernet frames with a TCP or UDP packet in them, checksums complete. */
import { isIPv4 } from 'node:net';
import type { FlowTuple, Protocol } from '@serval/node-agent';

const payload = Buffer.alloc(64, 'serval');

/** As it leaves the pod: from the tuple's local end to its remote end. */
export function frame(protocol: Protocol, tuple: FlowTuple): Buffer {
  const source = addressBytes(tuple.local.address);
  const destination = addressBytes(tuple.remote.address);
  const transport = protocol === 'tcp' ? tcpHeader(tuple) : udpHeader(tuple);
  const number = protocol === 'tcp' ? 6 : 17;
  const length = transport.length + payload.length;
  const pseudo = Buffer.concat([source, destination, Buffer.from([0, number, length >> 8, length & 0xff])]);
  transport.writeUInt16BE(checksum(Buffer.concat([pseudo, transport, payload])), protocol === 'tcp' ? 16 : 6);
  const isFour = source.length === 4;
  const ethernet = Buffer.from(`020000000001020000000002${isFour ? '0800' : '86dd'}`, 'hex');
  const ip = isFour
    ? ipv4Header(number, length, source, destination)
    : ipv6Header(number, length, source, destination);
  return Buffer.concat([ethernet, ip, transport, payload]);
}

/** Ports of a frame without options: what tells the tuples of a cycle apart. */
export function portsOf(bytes: Buffer): { local: number; remote: number } {
  const at = bytes.readUInt16BE(12) === 0x0800 ? 34 : 54;
  return { local: bytes.readUInt16BE(at), remote: bytes.readUInt16BE(at + 2) };
}

function tcpHeader(tuple: FlowTuple): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(tuple.local.port, 0);
  header.writeUInt16BE(tuple.remote.port, 2);
  header.writeUInt32BE(1, 4);
  header.writeUInt32BE(1, 8);
  header.writeUInt16BE(0x5010, 12); // five words, ACK
  header.writeUInt16BE(0xffff, 14);
  return header;
}

function udpHeader(tuple: FlowTuple): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(tuple.local.port, 0);
  header.writeUInt16BE(tuple.remote.port, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return header;
}

function ipv4Header(protocol: number, length: number, source: Buffer, destination: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(0x4000, 6);
  header[8] = 64;
  header[9] = protocol;
  source.copy(header, 12);
  destination.copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6Header(protocol: number, length: number, source: Buffer, destination: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = 64;
  return Buffer.concat([header, source, destination]);
}

/** IPv6 here is always written with one run of zeros in the middle. */
function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string): number[] => part.split(':').map((word) => parseInt(word, 16));
  const front = words(head);
  const back = words(tail);
  const all = [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += (bytes[i] as number) << (i % 2 === 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
