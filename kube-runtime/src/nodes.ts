/**
 * Which node has an address: by the ServalNodes, longest range first. Asked for every flow of a migration, so that it is a
 * few look-ups whatever the number of nodes.
 */
import type { ServalNode } from '@serval/api';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { ResourceStore } from './store.js';

/** Who hosts what, as the protocol asks. */
export interface HostDirectory {
  /** whether this node has this address; IPv4-mapped IPv6 counts as IPv4 */
  hosts(node: string, address: string): boolean;
  /** undefined where nobody has it, or the text is no address */
  nodeOf(address: string): string | undefined;
  /** `host:port` of a node's signalling */
  addressOf(node: string): string | undefined;
}

/** answers that are remembered; forgotten all at once when a node changes, or when there are so many */
const memoSize = 200_000;

export class NodeDirectory implements HostDirectory {
  readonly #nodes = new Map<string, ServalNode>();
  /** by prefix length (of IPv4: plus 96), longest first: the nodes that claim a prefix */
  #lengths: Array<{ length: number; prefixes: Map<bigint, string[]> }> = [];
  readonly #memo = new Map<string, string | undefined>();

  /** Follow a store. Returns what ends it. */
  follow(store: ResourceStore): () => void {
    return store.watch('ServalNode', ({ type, object }) => {
      if (type === 'deleted') this.remove(object.metadata.name);
      else this.set(object);
    });
  }

  set(node: ServalNode): void {
    const { name } = node.metadata;
    this.remove(name);
    this.#nodes.set(name, node);
    for (const { length, prefix } of rangesOf(node)) {
      const claims = this.#prefixes(length);
      // Two nodes that claim one range: the first by name has it, on every agent alike.
      claims.set(prefix, [...(claims.get(prefix) ?? []), name].sort());
    }
  }

  remove(name: string): void {
    this.#memo.clear();
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    this.#nodes.delete(name);
    for (const { length, prefix } of rangesOf(node)) {
      const claims = this.#prefixes(length);
      const left = (claims.get(prefix) ?? []).filter((other) => other !== name);
      if (left.length > 0) claims.set(prefix, left);
      else claims.delete(prefix);
    }
    this.#lengths = this.#lengths.filter(({ prefixes }) => prefixes.size > 0);
  }

  get size(): number {
    return this.#nodes.size;
  }

  hosts(node: string, address: string): boolean {
    return this.nodeOf(address) === node;
  }

  nodeOf(address: string): string | undefined {
    if (this.#memo.has(address)) return this.#memo.get(address);
    if (this.#memo.size >= memoSize) this.#memo.clear();
    const node = this.#find(address);
    this.#memo.set(address, node);
    return node;
  }

  addressOf(node: string): string | undefined {
    return this.#nodes.get(node)?.spec.address;
  }

  #find(address: string): string | undefined {
    if (isIP(address) === 0) return undefined;
    const bits = bitsOf(address);
    for (const { length, prefixes } of this.#lengths) {
      const node = prefixes.get(prefixOf(bits, length))?.[0];
      if (node !== undefined) return node;
    }
    return undefined;
  }

  #prefixes(length: number): Map<bigint, string[]> {
    const known = this.#lengths.find((entry) => entry.length === length);
    if (known !== undefined) return known.prefixes;
    const prefixes = new Map<bigint, string[]>();
    this.#lengths.push({ length, prefixes });
    this.#lengths.sort((a, b) => b.length - a.length);
    return prefixes;
  }
}

interface Range {
  length: number;
  prefix: bigint;
}

/** Each once: a node may name a range twice. */
function rangesOf({ spec }: ServalNode): Range[] {
  const ranges = new Map<string, Range>();
  for (const text of [...spec.hostAddresses, ...spec.podCIDRs]) {
    const [address = '', bits] = text.split('/');
    const own = ipaddr.parse(address).kind() === 'ipv4' ? 96 : 0;
    const length = bits === undefined ? 128 : Number(bits) + own;
    const prefix = prefixOf(bitsOf(address), length);
    ranges.set(`${prefix}/${length}`, { length, prefix });
  }
  return [...ranges.values()];
}

/** 128 bits, IPv4 mapped. */
function bitsOf(text: string): bigint {
  const address = ipaddr.process(text);
  const bytes = address.kind() === 'ipv4' ? [...mapped, ...address.toByteArray()] : address.toByteArray();
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function prefixOf(bits: bigint, length: number): bigint {
  return bits >> BigInt(128 - length);
}
