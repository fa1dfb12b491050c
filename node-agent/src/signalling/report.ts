/**
 * What nodes tell each other about the pods that they have, apart from migrations: the load of replicas, and which addresses
 * are being moved, were left, have died. Request and reply both carry a report, so that one exchange tells both sides.
 * Pure.
 */
import type { Protocol } from '../datapath/types.js';
import type { Refused } from '../protocol/messages.js';
import { addressFamily } from './addresses.js';
import { AddressBook, column, Numbers, onlyFields, protocols, readAddresses } from './columns.js';
import { badField, boolean, isObject, isWhole, list, record, text, whole, type Field } from './fields.js';

/** Flows of one listening address and port. */
export interface ReplicaFlows {
  protocol: Protocol;
  /** canonical, where the workload is now */
  address: string;
  port: number;
  /** connected sockets */
  established: number;
  /** connections that wait to be accepted; 0 for UDP */
  backlog: number;
}

export interface NodeReport {
  /** of replicas on the sender's node; empty where the receiver has not said that it wants them */
  replicas: ReplicaFlows[];
  /** addresses of workloads that are being moved right now: quiesced, frozen, not switched yet */
  moving: string[];
  /** addresses (of the sender's own ranges) that a workload has left and nobody has got since: where it is now */
  left: Array<{ address: string; now: string }>;
  /** addresses of pods that were here and ended (not moved), for 10 minutes or until the address is used again */
  died: string[];
  /** addresses of all pods that are here: the sender vouches for them */
  pods: string[];
}

/** A report on its way, with what only the exchange of reports itself needs. */
export interface SentReport extends NodeReport {
  /** grows with each report of a node, so that one that comes late does not count any more */
  sequence: number;
  /** of workloads that have come here from other places: whoever was left by one learns that it still is at `address` */
  moved: Array<{ address: string; uid: string }>;
}

export interface ReportMessage extends SentReport {
  kind: 'report';
  /** the sender has clients of replicas there: the other node's reports are to have `replicas` for the next seconds */
  load: boolean;
}

export type ReportReply = ({ ok: true } & SentReport) | Refused;

/** A node has some hundred pods, of at most two addresses and some ports each: 10,000 replicas must fit. */
const maxReplicas = 20_000;
const maxAddresses = 20_000;
const maxCount = 2 ** 32 - 1;

const replicaNumbers = [
  ['port', 1, 65_535],
  ['established', 0, maxCount],
  ['backlog', 0, maxCount],
] as const;
const replicaFields = ['count', 'addresses', 'protocol', 'address', ...replicaNumbers.map(([name]) => name)];

const replicas: Field<ReplicaFlows[]> = {
  write(rows) {
    const book = new AddressBook();
    const json: Record<string, unknown> = {
      count: rows.length,
      protocol: column(rows, ({ protocol }) => protocols.indexOf(protocol)),
      address: column(rows, ({ address }) => book.number(address)),
    };
    for (const [name] of replicaNumbers) json[name] = column(rows, (row) => row[name]);
    return { ...json, addresses: book.addresses };
  },
  read(json, path) {
    if (!isObject(json)) throw badField(path, 'it is no object');
    onlyFields(json, replicaFields, path);
    const { count } = json;
    if (!isWhole(count, 0, maxReplicas))
      throw badField(`${path}.count`, `it is no whole number from 0 to ${maxReplicas}`);
    const { addresses } = readAddresses(json['addresses'], `${path}.addresses`, count);
    const numbers = (name: string, min: number, max: number): Numbers =>
      Numbers.read(json[name], { count, min, max }, `${path}.${name}`);
    const protocol = numbers('protocol', 0, protocols.length - 1);
    const address = numbers('address', 0, addresses.length - 1);
    const [port, established, backlog] = replicaNumbers.map(([name, min, max]) =>
      numbers(name, min, max),
    ) as [Numbers, Numbers, Numbers];
    return Array.from({ length: count }, (_, index) => ({
      protocol: protocols[protocol.at(index)] as Protocol,
      address: addresses[address.at(index)] as string,
      port: port.at(index),
      established: established.at(index),
      backlog: backlog.at(index),
    }));
  },
};

const address: Field<string> = {
  write: (value) => value,
  read(json, path) {
    if (addressFamily(json) === 0)
      throw badField(path, 'it is no IPv4 or IPv6 address in its canonical form');
    return json as string;
  },
};

const addresses: Field<string[]> = {
  write: (values) => values,
  read: (json, path) => readAddresses(json, path, maxAddresses).addresses,
};

const leftAddress = record<{ address: string; now: string }>({ address, now: address });
const ofOneFamily: Field<{ address: string; now: string }> = {
  write: (value) => leftAddress.write(value),
  read(json, path) {
    const value = leftAddress.read(json, path);
    if (addressFamily(value.address) !== addressFamily(value.now))
      throw badField(path, 'it mixes IPv4 and IPv6');
    return value;
  },
};

/** Of a workload: drawn when it came to life, kept over all its moves. */
export const uid = text('a uid: letters, digits, ".", "_", ":" and "-"', 128, /^[A-Za-z0-9._:-]+$/);

const sentFields = {
  replicas,
  moving: addresses,
  left: list(ofOneFamily, { max: maxAddresses }),
  died: addresses,
  pods: addresses,
  sequence: whole(1, Number.MAX_SAFE_INTEGER),
  moved: list(record<{ address: string; uid: string }>({ address, uid }), { max: maxAddresses }),
};

export const sentReport: Field<SentReport> = record<SentReport>(sentFields);
export const reportFields = { ...sentFields, load: boolean };
