/** Which replica of a service a client is itself, in the kernel. */
import type { BpfMap } from '../../native.js';
import { salOwnKey } from '../abi.generated.js';

export class OwnReplicas {
  /** by service: cookies of the clients that the kernel has for it */
  private readonly clients = new Map<number, bigint[]>();

  /** What an earlier process has left of services that are there goes with them; the rest goes now. */
  constructor(
    private readonly map: BpfMap,
    isThere: (service: number) => boolean,
  ) {
    const { count, keys } = map.entries();
    for (let i = 0; i < count; i++) {
      const { netns, service } = salOwnKey.read(keys, i * salOwnKey.size);
      if (!isThere(service)) map.delete(ownKey(netns, service));
      else this.clients.set(service, [...(this.clients.get(service) ?? []), netns]);
    }
  }

  put(service: number, own: ReadonlyMap<bigint, number>): void {
    if (own.size === 0) return;
    for (const [netns, number] of own) {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(number);
      this.map.update(ownKey(netns, service), value);
    }
    this.clients.set(service, [...own.keys()]);
  }

  /** Before the numbers of its replicas change: in between such a client gets what any other would. */
  forget(service: number): void {
    for (const netns of this.clients.get(service) ?? []) this.map.delete(ownKey(netns, service));
    this.clients.delete(service);
  }
}

function ownKey(netns: bigint, service: number): Buffer {
  const buffer = Buffer.alloc(salOwnKey.size);
  salOwnKey.write(buffer, 0, { netns, service });
  return buffer;
}
