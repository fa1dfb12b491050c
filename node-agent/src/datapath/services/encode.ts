/** The service table's keys and values to bytes and back. Pure. */
import { addressBytes, addressText } from '../address.js';
import { salBalance, salEndpoint, salRule, salService, salServiceFlag } from '../abi.generated.js';
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

/** One text for one key. */
export function serviceKey({ address, port, protocol }: ServiceAddress): string {
  return `${protocol} ${address} ${port}`;
}

/** Where a service's choices and replicas are. */
export interface Placed {
  id: number;
  choices: number;
  size: number;
  replicas: number;
  count: number;
}

export function encodeService(rule: ServiceRule, { id, choices, size, replicas, count }: Placed): Buffer {
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
  });
  return buffer;
}
