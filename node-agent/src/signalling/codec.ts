/** Messages and replies to bytes and back: JSON, with lists of flows by columns (flows.ts). What is read is checked. Pure. */
import { isNodeName } from '@serval/kube-runtime';
import type {
  Difference,
  OutcomeWord,
  Refusal,
  Refused,
  Release,
  Stray,
  SwitchReport,
  TargetAddresses,
} from '../protocol/messages.js';
import {
  badField,
  finite,
  isObject,
  list,
  oneOf,
  openRecord,
  parseJson,
  record,
  text,
  whole,
  wholes,
  type Field,
  type Fields,
} from './fields.js';
import { addressFamily } from './addresses.js';
import { maxFlows, peerFlows, targetFlows } from './flows.js';
import type { AnyAccepted, AnyKind, AnyMessage, AnyReply } from './kinds.js';
import { reportFields, sentReport, uid } from './report.js';

/** Nodes of a cluster are 5,000; twice as many are no mistake yet. */
const maxNodes = 10_000;
const maxStrays = 20_000;
/** The longest IP packet, and its base64. */
const maxPacketCharacters = Math.ceil((40 + 65_535) / 3) * 4;
/** What a mover's own words may be nested, with what is around them. */
const maxDepth = 24;
export const maxReason = 4_096;

const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const migration = text('a migration id: 16 hexadecimal digits', 16, /^[0-9a-f]{16}$/);
const nonce = text('a nonce: 32 hexadecimal digits', 32, /^[0-9a-f]{32}$/);
const epoch = whole(0, Number.MAX_SAFE_INTEGER);
const sequence = whole(1, Number.MAX_SAFE_INTEGER);
const reason = text('a reason', maxReason);
const unknownFlows = wholes(0, maxFlows - 1, maxFlows);

const node: Field<string> = {
  write: (name) => name,
  read(json, path) {
    if (typeof json !== 'string' || !isNodeName(json))
      throw badField(path, 'it is no name of a node: a DNS subdomain of at most 253 characters');
    return json;
  },
};

function addressOf(families: readonly number[], what: string): Field<string> {
  return {
    write: (address) => address,
    read(json, path) {
      if (!families.includes(addressFamily(json)))
        throw badField(path, `it is no ${what} address in its canonical form`);
      return json as string;
    },
  };
}

const workload = record<{ name: string; uid: string }>({
  name: text(
    'a namespaced name: namespace/name',
    63 + 1 + 253,
    new RegExp(`^${label}/(?=.{1,253}$)${label}(?:\\.${label})*$`),
  ),
  uid,
});

const targetAddresses: Field<TargetAddresses> = record(
  { ipv4: addressOf([4], 'IPv4'), ipv6: addressOf([6], 'IPv6') },
  ['ipv4', 'ipv6'],
);

const packet = text(
  'base64',
  maxPacketCharacters,
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
);
const packets = list(packet, { max: maxStrays });

/** Their flows by columns as well. */
const strays: Field<Stray[]> = {
  write: (values) => ({
    flows: peerFlows.write(values.map(({ flow }) => flow)),
    packets: values.map((value) => value.packet),
  }),
  read(json, path) {
    const value = strayColumns.read(json, path);
    if (value.flows.length !== value.packets.length)
      throw badField(path, `it has ${value.flows.length} flows for ${value.packets.length} packets`);
    return value.flows.map((flow, index) => ({ flow, packet: value.packets[index] as string }));
  },
};
const strayColumns = record({ flows: peerFlows, packets });

function difference<Flow>(flows: Field<Flow[]>): Field<Difference<Flow>> {
  return record<Difference<Flow>>({ add: flows, remove: flows });
}

const releasedPeers: Field<Release['peers']> = list(record({ node, nonce }), { max: maxNodes });

/** Of the sender's clock, which may have been set back: a number below zero is no reason to refuse the message. */
const report: Field<SwitchReport> = record<SwitchReport>({
  resumeMs: finite,
  switchMs: finite,
  replayed: whole(0, Number.MAX_SAFE_INTEGER),
});

type Body<Kind extends AnyKind> = Omit<Extract<AnyMessage, { kind: Kind }>, 'kind'>;
type Answer<Kind extends AnyKind> = Omit<AnyAccepted<Kind>, 'ok'>;

/** Every field of every message. The types see to it that none is forgotten. */
const messageFields: { [Kind in AnyKind]: Fields<Body<Kind>> } = {
  prepareTarget: {
    migration,
    epoch,
    workload,
    addresses: list(addressOf([4, 6], 'IPv4 or IPv6'), { min: 1, max: 64 }),
    mover: text('the name of a mover', 63, new RegExp(`^${label}$`)),
    image: openRecord({ depth: 16, values: 10_000, characters: 1 << 20 }),
  },
  targetFlows: { migration, sequence, flows: difference(targetFlows) },
  restore: { migration, sequence, flows: difference(targetFlows) },
  release: { migration, peers: releasedPeers, strays },
  strays: { migration, strays },
  switched: { migration, missing: list(node, { max: maxNodes }), report },
  preparePeer: { migration, epoch, workload, target: node, flows: peerFlows },
  hold: { migration, sequence, nonce, flows: difference(peerFlows) },
  unhold: { migration, sequence, nonce },
  rsyn: { migration, epoch, nonce, strays },
  abort: { migration },
  outcome: { migration },
  ended: { migration, flows: peerFlows },
  report: reportFields,
};

const words: Record<OutcomeWord, true> = { undecided: true, released: true, aborted: true, unknown: true };

export const messageKinds = Object.keys(messageFields) as readonly AnyKind[];

const replyFields: { [Kind in AnyKind]: Field<Answer<Kind>> } = {
  prepareTarget: record({ addresses: targetAddresses }),
  targetFlows: record<object>({}),
  restore: record<object>({}),
  release: record<object>({}),
  strays: record<object>({}),
  switched: record<object>({}),
  preparePeer: record({ nonce, unknown: unknownFlows }),
  hold: record({ unknown: unknownFlows }),
  unhold: record<object>({}),
  rsyn: record({ replayed: whole(0, Number.MAX_SAFE_INTEGER) }),
  abort: record<object>({}),
  outcome: record<Answer<'outcome'>>(
    {
      word: oneOf(Object.keys(words) as OutcomeWord[]),
      release: record({ peers: releasedPeers, strays }),
    },
    ['release'],
  ),
  ended: record<object>({}),
  report: sentReport,
};

const refusalNames: Record<Refusal, true> = {
  notAuthorised: true,
  staleEpoch: true,
  badNonce: true,
  unknownMigration: true,
  givenUp: true,
  busy: true,
  failed: true,
  conflict: true,
};
const refused = record<Omit<Refused, 'ok'>>({
  refusal: oneOf(Object.keys(refusalNames) as Refusal[]),
  reason,
});

const bodies = Object.fromEntries(
  Object.entries(messageFields).map(([kind, fields]) => [kind, record(fields as Fields<object>)]),
) as Record<AnyKind, Field<object>>;

export function encodeMessage(message: AnyMessage): Buffer {
  const body = bodies[message.kind].write(message) as object;
  return Buffer.from(JSON.stringify({ kind: message.kind, ...body }));
}

/** @throws ServalError ERR_BAD_INPUT, with the field in `details.field` */
export function decodeMessage(buffer: Buffer): AnyMessage {
  const json = parseJson(buffer, maxDepth);
  if (!isObject(json)) throw badField('', 'it is no object');
  const { kind, ...body } = json;
  if (typeof kind !== 'string' || !Object.hasOwn(bodies, kind))
    throw badField('kind', 'it is no kind of message that is known here');
  return { kind, ...bodies[kind as AnyKind].read(body, '') } as AnyMessage;
}

/** A reason that is too long is cut. */
export function encodeReply<Kind extends AnyKind>(kind: Kind, reply: AnyReply<Kind>): Buffer {
  const json = reply.ok
    ? { ok: true, ...(replyFields[kind].write(reply) as object) }
    : { ok: false, refusal: reply.refusal, reason: reply.reason.slice(0, maxReason) };
  return Buffer.from(JSON.stringify(json));
}

/** @throws ServalError ERR_BAD_INPUT, with the field in `details.field` */
export function decodeReply<Kind extends AnyKind>(kind: Kind, buffer: Buffer): AnyReply<Kind> {
  const json = parseJson(buffer, maxDepth);
  if (!isObject(json)) throw badField('', 'it is no object');
  const { ok, ...body } = json;
  if (typeof ok !== 'boolean') throw badField('ok', 'it is neither true nor false');
  if (!ok) return { ok, ...refused.read(body, '') };
  return { ok, ...replyFields[kind].read(body, '') } as AnyReply<Kind>;
}
