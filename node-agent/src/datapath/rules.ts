/**
 * Pure half of the flow table: checks rules, and turns them into slots. One rule makes two slots: egress, identity to
 * wire; ingress, wire to identity.
 */
import { ServalError } from '@serval/api';
import { salDirection, salKey, salSlot, salSlotFlag, salState } from './abi.generated.js';
import { addressBytes, addressText, addressWords, isMappedWords, type AddressWords } from './address.js';
import { wordsDiff } from './checksum.js';
import type { FlowRule, FlowState, FlowTuple, Protocol } from './types.js';

export const protocolNumber: Record<Protocol, number> = { tcp: 6, udp: 17 };
export const stateNumber: Record<FlowState, number> = {
  pending: salState.PENDING,
  held: salState.HELD,
  active: salState.ACTIVE,
  refused: salState.REFUSED,
};

/**
 * A rule with its addresses read: what encoding works on. Flat, since there is one for each flow of a move: with an
 * object for each tuple the collector took a third of the time.
 */
export interface ReadyRule {
  rule: FlowRule;
  /** wire and identity are the same: nothing to translate */
  plain: boolean;
  identityLocal: AddressWords;
  identityRemote: AddressWords;
  /** local port and remote port as one word, as they lie in memory */
  identityPorts: number;
  wireLocal: AddressWords;
  wireRemote: AddressWords;
  wirePorts: number;
}

/** Reads addresses; the same few come back in every rule of a batch, so they are remembered. */
export class AddressReader {
  private readonly known = new Map<string, AddressWords>();

  read(text: string): AddressWords {
    let words = this.known.get(text);
    if (words === undefined) {
      words = addressWords(addressBytes(text));
      if (this.known.size >= 65536) this.known.clear();
      this.known.set(text, words);
    }
    return words;
  }
}

/** Check a rule and read its addresses. @throws ServalError ERR_BAD_INPUT naming the flow and the field */
export function readyRule(rule: FlowRule, reader: AddressReader): ReadyRule {
  checkNames(rule);
  const { identity, wire } = rule;
  const identityLocal = reader.read(identity.local.address);
  const identityRemote = reader.read(identity.remote.address);
  const wireLocal = reader.read(wire.local.address);
  const wireRemote = reader.read(wire.remote.address);
  checkFamily(rule, identityLocal, identityRemote, wireLocal, wireRemote);
  const identityPorts = portsWord(rule, identity);
  const wirePorts = portsWord(rule, wire);
  const plain =
    identityPorts === wirePorts &&
    sameAddress(identityLocal, wireLocal) &&
    sameAddress(identityRemote, wireRemote);
  return { rule, plain, identityLocal, identityRemote, identityPorts, wireLocal, wireRemote, wirePorts };
}

function checkFamily(
  rule: FlowRule,
  a: AddressWords,
  b: AddressWords,
  c: AddressWords,
  d: AddressWords,
): void {
  const mapped = isMappedWords(a);
  if (isMappedWords(b) === mapped && isMappedWords(c) === mapped && isMappedWords(d) === mapped) return;
  throw badRule(
    rule,
    'IPv4 and IPv6 addresses are mixed',
    'Translate within one family: a header can not change its version',
  );
}

function badRule(rule: FlowRule, reason: string, remedy: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', { subject: `flow ${rule.flowId}`, reason, remedy });
}

function checkNames(rule: FlowRule): void {
  if (protocolNumber[rule.protocol] === undefined)
    throw badRule(rule, `protocol "${rule.protocol}" can not be translated`, 'Use tcp or udp');
  if (stateNumber[rule.state] === undefined)
    throw badRule(rule, `state "${rule.state}" is unknown`, 'Use pending, held, active or refused');
  if (!isWord64(rule.flowId) || rule.flowId === 0n)
    throw badRule(rule, 'its id is not a 64-bit number above 0', 'Choose another id');
  if (!isWord64(rule.migration))
    throw badRule(rule, 'its migration is not a 64-bit number', 'Choose another migration id');
}

const beyondWord64 = 1n << 64n;

function isWord64(value: bigint): boolean {
  return typeof value === 'bigint' && value >= 0n && value < beyondWord64;
}

function portsWord(rule: FlowRule, { local, remote }: FlowTuple): number {
  return (portBytes(rule, local.port) | (portBytes(rule, remote.port) << 16)) >>> 0;
}

/** In network order. */
function portBytes(rule: FlowRule, port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw badRule(rule, `port ${port} is not between 1 and 65535`, 'Give the port of the flow');
  return ((port & 0xff) << 8) | (port >> 8);
}

function sameAddress(a: AddressWords, b: AddressWords): boolean {
  return a === b || (a[3] === b[3] && a[2] === b[2] && a[1] === b[1] && a[0] === b[0]);
}

export type Direction = 'egress' | 'ingress';

export const wordsPerSlot = salSlot.size / 4;
/** Where in a slot things are, in words. */
export const slotWord = {
  scope: (salSlot.offset.match + salKey.offset.scope) / 4,
  match: (salSlot.offset.match + salKey.offset.tuple) / 4,
  state: salSlot.offset.state / 4,
  addressDiff: salSlot.offset.addressDiff / 4,
  portDiff: salSlot.offset.portDiff / 4,
  to: salSlot.offset.to / 4,
  flowId: salSlot.offset.flowId / 4,
  migration: salSlot.offset.migration / 4,
};

/** In the word of the state. */
const rerouteBit = salSlotFlag.REROUTE << (8 * (salSlot.offset.flags - salSlot.offset.state));

function scopeWord(podId: number, direction: Direction, protocol: Protocol): number {
  const way = direction === 'egress' ? salDirection.EGRESS : salDirection.INGRESS;
  return (podId | (way << 16) | (protocolNumber[protocol] << 24)) >>> 0;
}

/** A tuple's nine words from `at` on. Without a loop: this runs four times for each rule. */
function putTuple(
  words: Uint32Array,
  at: number,
  local: AddressWords,
  remote: AddressWords,
  ports: number,
): void {
  words[at] = local[0];
  words[at + 1] = local[1];
  words[at + 2] = local[2];
  words[at + 3] = local[3];
  words[at + 4] = remote[0];
  words[at + 5] = remote[1];
  words[at + 6] = remote[2];
  words[at + 7] = remote[3];
  words[at + 8] = ports;
}

function putIdentity(words: Uint32Array, at: number, rule: ReadyRule): void {
  putTuple(words, at, rule.identityLocal, rule.identityRemote, rule.identityPorts);
}

function putWire(words: Uint32Array, at: number, rule: ReadyRule): void {
  putTuple(words, at, rule.wireLocal, rule.wireRemote, rule.wirePorts);
}

/**
 * Writes slots one after the other into a buffer with room for `capacity` of them. Word by word: 20,000 slots take 2 ms,
 * an object and a codec call for each took 45 ms.
 */
export class SlotWriter {
  private readonly words: Uint32Array;
  private readonly words64: BigUint64Array;
  /** slots written so far */
  count = 0;

  constructor(
    private readonly podId: number,
    capacity: number,
  ) {
    this.words = new Uint32Array(capacity * wordsPerSlot);
    this.words64 = new BigUint64Array(this.words.buffer);
  }

  put(ready: ReadyRule, direction: Direction, state: number): void {
    const { rule, identityLocal, identityRemote, identityPorts, wireLocal, wireRemote, wirePorts } = ready;
    const words = this.words;
    const at = this.count++ * wordsPerSlot;
    words[at + slotWord.scope] = scopeWord(this.podId, direction, rule.protocol);
    words[at + slotWord.state] = state | (rule.reroute ? rerouteBit : 0);
    if (direction === 'egress') {
      putIdentity(words, at + slotWord.match, ready);
      putWire(words, at + slotWord.to, ready);
      words[at + slotWord.addressDiff] = addressDiff(identityLocal, wireLocal, identityRemote, wireRemote);
      words[at + slotWord.portDiff] = portDiff(identityPorts, wirePorts);
    } else {
      putWire(words, at + slotWord.match, ready);
      putIdentity(words, at + slotWord.to, ready);
      words[at + slotWord.addressDiff] = addressDiff(wireLocal, identityLocal, wireRemote, identityRemote);
      words[at + slotWord.portDiff] = portDiff(wirePorts, identityPorts);
    }
    this.words64[(at + slotWord.flowId) / 2] = rule.flowId;
    this.words64[(at + slotWord.migration) / 2] = rule.migration;
  }

  /** n * sizeof(struct sal_slot), in the order of writing. */
  slots(): Buffer {
    return Buffer.from(this.words.buffer as ArrayBuffer, 0, this.count * salSlot.size);
  }
}

/** One slot to be written: which way, for which rule, in which state. */
export interface SlotPlan {
  ready: ReadyRule;
  direction: Direction;
  state: number;
}

/** Slots in the order of the plan. */
export function encodeSlots(podId: number, plan: readonly SlotPlan[]): Buffer {
  const writer = new SlotWriter(podId, plan.length);
  for (const { ready, direction, state } of plan) writer.put(ready, direction, state);
  return writer.slots();
}

export interface SlotsOfRules {
  /** inbound halves before outbound ones */
  slots: Buffer;
  /** which of them replace nothing: what is replaced has the same key, and so an address pair that is counted already */
  fresh: number[];
  /** numbers of outbound halves that have nothing to translate any more */
  itselfAgain: number[];
}

/** What has to be published for these rules, given the slots (0: none) that their keys have now. */
export function planSlots(
  podId: number,
  ready: readonly ReadyRule[],
  now: Record<Direction, Uint32Array>,
): SlotsOfRules {
  const writer = new SlotWriter(podId, ready.length * 2);
  const fresh: number[] = [];
  const itselfAgain: number[] = [];
  const put = (rule: ReadyRule, direction: Direction, state: number, slotNow: number): void => {
    if (slotNow === 0) fresh.push(writer.count);
    writer.put(rule, direction, state);
  };
  ready.forEach((one, i) => {
    const refused = one.rule.state === 'refused';
    if (refused || !one.plain)
      put(one, 'ingress', refused ? salState.REFUSED : salState.ACTIVE, now.ingress[i] as number);
  });
  ready.forEach((one, i) => {
    const slotNow = now.egress[i] as number;
    const { state } = one.rule;
    if (state === 'refused') return;
    // A pending hop leaves alone where outbound packets go now; a flow that is itself again needs no outbound rule.
    if (one.plain && state === 'active') {
      if (slotNow !== 0) itselfAgain.push(slotNow);
    } else if (state !== 'pending' || slotNow === 0) {
      put(one, 'egress', stateNumber[state], slotNow);
    }
  });
  return { slots: writer.slots(), fresh, itselfAgain };
}

/** As a rule one end moves at a time, and the other end's words need not be looked at. */
function addressDiff(
  fromLocal: AddressWords,
  toLocal: AddressWords,
  fromRemote: AddressWords,
  toRemote: AddressWords,
): number {
  if (fromLocal === toLocal) return fromRemote === toRemote ? 0 : wordsDiff(fromRemote, toRemote);
  if (fromRemote === toRemote) return wordsDiff(fromLocal, toLocal);
  return wordsDiff([...fromLocal, ...fromRemote], [...toLocal, ...toRemote]);
}

function portDiff(from: number, to: number): number {
  return from === to ? 0 : wordsDiff([from], [to]);
}

/** Keys in the order of the rules, n * sizeof(struct sal_key). */
export function encodeKeys(podId: number, rules: readonly ReadyRule[], direction: Direction): Buffer {
  const wordsPerKey = salKey.size / 4;
  const words = new Uint32Array(rules.length * wordsPerKey);
  let at = 0;
  for (const ready of rules) {
    words[at] = scopeWord(podId, direction, ready.rule.protocol);
    if (direction === 'egress') putIdentity(words, at + 1, ready);
    else putWire(words, at + 1, ready);
    at += wordsPerKey;
  }
  return Buffer.from(words.buffer);
}

/** A struct sal_tuple in words of the interface. */
export function decodeTuple(tuple: {
  local: Buffer;
  remote: Buffer;
  localPort: number;
  remotePort: number;
}): FlowTuple {
  return {
    local: { address: addressText(tuple.local), port: tuple.localPort },
    remote: { address: addressText(tuple.remote), port: tuple.remotePort },
  };
}

export function decodeProtocol(number: number): Protocol {
  return number === protocolNumber.tcp ? 'tcp' : 'udp';
}

export function decodeState(number: number): FlowState {
  if (number === salState.HELD) return 'held';
  if (number === salState.REFUSED) return 'refused';
  return number === salState.ACTIVE ? 'active' : 'pending';
}
