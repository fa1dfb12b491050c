/** An agent's service table in the kernel, read where it is pinned: whom the next connection to a virtual IP may get. */
import { join } from 'node:path';
import {
  endpointBytes,
  native,
  readEndpoint,
  salService,
  salServiceFlag,
  type BpfMap,
} from '@serval/node-agent';

export class KernelTable {
  private readonly services: BpfMap;
  private readonly choices: BpfMap;
  private readonly replicas: BpfMap;

  /** @param bpffs of the agent */
  constructor(bpffs: string) {
    const open = (name: string): BpfMap => native().openPinnedMap(join(bpffs, 'serval/maps', name));
    this.services = open('sal_services');
    this.choices = open('sal_choices');
    this.replicas = open('sal_replicas');
  }

  /** Addresses of those that a connection may get; none where the service is not there. */
  chosen(virtualIP: string, port: number): Set<string> {
    const found = this.services.lookup(endpointBytes({ address: virtualIP, port }, 'tcp'));
    if (found === undefined) return new Set();
    const { flags, choices, size, replicas, count } = salService.read(found);
    const isEven = (flags & salServiceFlag.EVEN) !== 0;
    const numbers = new Set<number>();
    for (let i = 0; i < (isEven ? count : size); i++) numbers.add(isEven ? i : this.choice(choices + i));
    return new Set([...numbers].map((number) => this.addressOf(replicas + number)));
  }

  close(): void {
    for (const map of [this.services, this.choices, this.replicas]) map.close();
  }

  /** Two in each element. */
  private choice(place: number): number {
    return this.choices.lookup(index(place >> 1))?.readUInt32LE(4 * (place & 1)) ?? 0;
  }

  private addressOf(place: number): string {
    const replica = this.replicas.lookup(index(place));
    return replica === undefined ? '' : readEndpoint(replica).address;
  }
}

function index(place: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(place);
  return key;
}
