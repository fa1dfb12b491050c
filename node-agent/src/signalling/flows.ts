/**
 * Lists of flows in JSON, by columns: addresses once each, then for each part of a flow either one number that all flows
 * share, or one for each. A list of 100,000 flows of one workload is a megabyte and takes milliseconds; written flow by
 * flow it would be twenty times as much. Pure.
 */
import type { Endpoint, Protocol } from '../datapath/types.js';
import type { PeerFlow, TargetFlow } from '../protocol/messages.js';
import { AddressBook, column, Numbers, onlyFields, protocols, readAddresses } from './columns.js';
import { badField, isObject, isWhole, type Field } from './fields.js';

/** Most flows in one list. */
export const maxFlows = 250_000;

/** How flows of one shape fall apart into their endpoints, and how they are put together again. */
interface Shape<Flow> {
  /** names and endpoints, in the order in which `make` takes them */
  ends: ReadonlyArray<readonly [name: string, end: (flow: Flow) => Endpoint]>;
  make(protocol: Protocol, ends: readonly Endpoint[]): Flow;
}

const peerShape: Shape<PeerFlow> = {
  ends: [
    ['now', ({ now }) => now],
    ['next', ({ next }) => next],
    ['peer', ({ peer }) => peer],
  ],
  make: (protocol, [now, next, peer]) => ({ protocol, now, next, peer }) as PeerFlow,
};

const targetShape: Shape<TargetFlow> = {
  ends: [
    ['identityLocal', ({ identity }) => identity.local],
    ['identityRemote', ({ identity }) => identity.remote],
    ['wireLocal', ({ wire }) => wire.local],
    ['wireRemote', ({ wire }) => wire.remote],
  ],
  make: (protocol, [a, b, c, d]) =>
    ({ protocol, identity: { local: a, remote: b }, wire: { local: c, remote: d } }) as TargetFlow,
};

function writeFlows<Flow extends { protocol: Protocol }>(
  shape: Shape<Flow>,
  flows: readonly Flow[],
): Record<string, unknown> {
  const book = new AddressBook();
  const json: Record<string, unknown> = {
    count: flows.length,
    protocol: column(flows, ({ protocol }) => protocols.indexOf(protocol)),
  };
  for (const [name, end] of shape.ends) {
    json[name] = column(flows, (flow) => book.number(end(flow).address));
    json[`${name}Port`] = column(flows, (flow) => end(flow).port);
  }
  return { ...json, addresses: book.addresses };
}

function readFlows<Flow>(shape: Shape<Flow>, json: unknown, path: string): Flow[] {
  if (!isObject(json)) throw badField(path, 'it is no object');
  const columns = shape.ends.flatMap(([name]) => [name, `${name}Port`]);
  onlyFields(json, ['count', 'addresses', 'protocol', ...columns], path);
  const { count } = json;
  if (!isWhole(count, 0, maxFlows))
    throw badField(`${path}.count`, `it is no whole number from 0 to ${maxFlows}`);
  const most = count * shape.ends.length;
  const { addresses, families } = readAddresses(json['addresses'], `${path}.addresses`, most);
  const numbers = (name: string, min: number, max: number): Numbers =>
    Numbers.read(json[name], { count, min, max }, `${path}.${name}`);
  const protocol = numbers('protocol', 0, protocols.length - 1);
  const ends = shape.ends.map(([name]) => ({
    address: numbers(name, 0, addresses.length - 1),
    port: numbers(`${name}Port`, 1, 65_535),
  }));
  const flows = new Array<Flow>(count);
  const parts = new Array<Endpoint>(ends.length);
  for (let index = 0; index < count; index++) {
    let family: number | undefined;
    for (let part = 0; part < ends.length; part++) {
      const { address, port } = ends[part] as (typeof ends)[number];
      const number = address.at(index);
      family ??= families[number];
      if (families[number] !== family) throw badField(`${path}[${index}]`, 'it mixes IPv4 and IPv6');
      parts[part] = { address: addresses[number] as string, port: port.at(index) };
    }
    flows[index] = shape.make(protocols[protocol.at(index)] as Protocol, parts);
  }
  return flows;
}

export const peerFlows: Field<PeerFlow[]> = {
  write: (flows) => writeFlows(peerShape, flows),
  read: (json, path) => readFlows(peerShape, json, path),
};

export const targetFlows: Field<TargetFlow[]> = {
  write: (flows) => writeFlows(targetShape, flows),
  read: (json, path) => readFlows(targetShape, json, path),
};
