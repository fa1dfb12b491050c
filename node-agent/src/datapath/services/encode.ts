/** The service table's keys and values to bytes and back. Pure. */
import { addressBytes, addressText } from '../address.js';
import { salBalance, salEndpoint, salLeft, salRule, salService, salServiceFlag } from '../abi.generated.js';
import type { Endpoint, Protocol } from '../types.js';
import type { ServiceAddress, ServiceRule } from './types.js';

const protocolNumbers: Record<Protocol, number> = { tcp: 6, udp: 17 };

export function writeEndpoint(
  buffer: Buffer,
  at: number,
  { address, port }: Endpoint,
  protocol?: Protocol,
): void {
  addressBytes(address).copy(buffer, at);
  buffer.writeUInt16BE(port, at + salEndpoint.offset.port);
  buffer.writeUInt16LE(
    protocol === undefined ? 0 : protocolNumbers[protocol],
    at + salEndpoint.offset.protocol,
  );
}

export function endpointBytes(endpoint: Endpoint, protocol?: Protocol): Buffer {
  const buffer = Buffer.alloc(salEndpoint.size);
  writeEndpoint(buffer, 0, endpoint, protocol);
  return buffer;
}

export function readEndpoint(buffer: Buffer, at = 0): Endpoint {
  const address = addressText(buffer.subarray(at, at + 16));
  return { address, port: buffer.readUInt16BE(at + salEndpoint.offset.port) };
}

export function readServiceAddress(buffer: Buffer, at = 0): ServiceAddress {
  const protocol = buffer.readUInt8(at + salEndpoint.offset.protocol) === protocolNumbers.udp ? 'udp' : 'tcp';
  return { ...readEndpoint(buffer, at), protocol };
}

/** One text for one address and port. */
export function endpointKey({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}

/** One text for one key. */
export function serviceKey(at: ServiceAddress): string {
  return `${at.protocol} ${endpointKey(at)}`;
}

/** Where a service's choices and replicas are. */
export interface Placed {
  id: number;
  choices: number;
  size: number;
  replicas: number;
  count: number;
}

export function encodeService(
  key: Buffer,
  rule: ServiceRule,
  { id, choices, size, replicas, count }: Placed,
): Buffer {
  const buffer = Buffer.alloc(salService.size);
  salService.write(buffer, 0, {
    id,
    rule: salRule[rule.rule],
    balance: salBalance[rule.balance],
    flags: (rule.own.size > 0 ? salServiceFlag.OWN : 0) | (rule.even ? salServiceFlag.EVEN : 0),
    choices,
    size: rule.even ? count : size,
    replicas,
    count,
    synTimeoutMs: rule.synTimeoutMs,
    check: 0,
  });
  writeCheck(key, buffer);
  return buffer;
}

/** Where a workload is that has left an address. */
export function encodeLeft(key: Buffer, now: string): Buffer {
  const buffer = Buffer.alloc(salLeft.size);
  writeEndpoint(buffer, salLeft.offset.now, { address: now, port: 0 });
  writeCheck(key, buffer);
  return buffer;
}

/** Into the last word: of the key and of all before. bpf/lib/checked.h does the same. */
function writeCheck(key: Buffer, value: Buffer): void {
  const at = value.length - 4;
  let check = 0;
  for (const part of [key, value.subarray(0, at)])
    for (let word = 0; word < part.length; word += 4) {
      check = Math.imul(check ^ part.readInt32LE(word), 0x9e3779b1);
      check = (check << 13) | (check >>> 19);
    }
  value.writeInt32LE(check, at);
}
