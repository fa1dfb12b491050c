/**
 * Services in the kernel: who connects to a virtual IP gets a replica. What the agent decides comes in as rules; what sockets
 * meet goes out as events and counters.
 */
import { cgroupRoot } from '../../movers/cgroup.js';
import { native, type RingBuffer } from '../../native.js';
import { packageFiles } from '../../package-files.js';
import { salClient, salEndpoint, salEvent, salEventKind, salLeft } from '../abi.generated.js';
import { explained } from '../errors.js';
import type { Endpoint } from '../types.js';
import { ConnectPrograms, type ServiceMaps } from './connect.js';
import { encodeLeft, endpointBytes, readEndpoint } from './encode.js';
import { ServiceTable } from './table.js';
import type { ServiceClient, SocketEvent } from './types.js';

export * from './types.js';

export interface ServicesOptions {
  pinRoot: string;
  maps: ServiceMaps;
  /** default: beside this package */
  objectPath?: string;
  /** default: the root of cgroup v2 */
  cgroup?: string;
  everyClient?: boolean;
}

const eventNames = Object.fromEntries(
  Object.entries(salEventKind).map(([name, number]) => [number, name]),
) as Record<number, SocketEvent['kind']>;

export class EbpfServices {
  private listener: ((event: SocketEvent) => void) | undefined;
  private readonly ring: RingBuffer;

  private constructor(
    readonly table: ServiceTable,
    private readonly maps: ServiceMaps,
    private readonly programs: ConnectPrograms,
  ) {
    this.ring = native().ringBuffer(maps.sal_events, (record) => this.listener?.(readEvent(record)));
  }

  /** @throws ServalError ERR_BAD_OBJECT, ERR_NO_PERMISSION, ERR_UNSUPPORTED (no cgroup v2), ERR_KERNEL */
  static async open(options: ServicesOptions): Promise<EbpfServices> {
    const objectPath = options.objectPath ?? packageFiles.connectObject;
    const { pinRoot, maps, everyClient = false } = options;
    const table = await explained('the service table', () => new ServiceTable(maps));
    const cgroup = options.cgroup ?? cgroupRoot();
    const programs = await ConnectPrograms.install({ pinRoot, objectPath, maps, cgroup, everyClient });
    return new EbpfServices(table, maps, programs);
  }

  /** Called for each socket in trouble. */
  onEvent(listener: (event: SocketEvent) => void): void {
    this.listener = listener;
  }

  /** These namespaces' sockets are resolved, and no others. */
  setClients(clients: readonly ServiceClient[]): void {
    const { count, keys } = this.maps.sal_clients.entries();
    const wanted = new Set(clients.map(({ cookie }) => cookie));
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * 8, i * 8 + 8);
      if (!wanted.has(key.readBigUInt64LE())) this.maps.sal_clients.delete(Buffer.from(key));
    }
    for (const client of clients) this.addClient(client);
  }

  addClient({ cookie, number }: ServiceClient): void {
    const value = Buffer.alloc(salClient.size);
    salClient.write(value, 0, { number, flags: 0 });
    this.maps.sal_clients.update(cookieBytes(cookie), value);
  }

  removeClient(cookie: bigint): void {
    this.maps.sal_clients.delete(cookieBytes(cookie));
  }

  /** Who connects to an address that was left gets the workload where it is now. */
  setLeft(address: string, now: string): void {
    const key = endpointBytes({ address, port: 0 });
    this.maps.sal_left_addresses.update(key, encodeLeft(key, now));
  }

  forgetLeft(address: string): void {
    this.maps.sal_left_addresses.delete(endpointBytes({ address, port: 0 }));
  }

  leftAddresses(): Map<string, string> {
    const { count, keys, values } = this.maps.sal_left_addresses.entries();
    return new Map(
      Array.from({ length: count }, (_, i) => [
        readEndpoint(keys, i * salEndpoint.size).address,
        readEndpoint(values, i * salLeft.size + salLeft.offset.now).address,
      ]),
    );
  }

  /** While a service without replicas lets its clients wait: keep their segments back. */
  holdBack(on: boolean): void {
    if (on !== this.programs.holdsBack) this.programs.holdBack(on);
  }

  /** This socket waits no longer: what it sends goes out. False where it did not wait. */
  release(socket: bigint): boolean {
    return this.maps.sal_waiting.delete(cookieBytes(socket));
  }

  /** Sockets that wait. */
  waiting(): bigint[] {
    const { count, keys } = this.maps.sal_waiting.entries();
    return Array.from({ length: count }, (_, i) => keys.readBigUInt64LE(i * 8));
  }

  close(): void {
    this.ring.close();
    this.programs.close();
  }
}

function cookieBytes(cookie: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(cookie);
  return buffer;
}

function readEvent(record: Buffer): SocketEvent {
  const { netns, socket, kind, attempt, length } = salEvent.read(record);
  const at = salEvent.offset;
  const endpoint = (offset: number): Endpoint => readEndpoint(record, offset);
  return {
    kind: eventNames[kind] ?? 'SILENT',
    cookie: netns,
    socket,
    attempt,
    local: endpoint(at.local),
    replica: endpoint(at.replica),
    asked: endpoint(at.asked),
    opening: Buffer.from(record.subarray(at.opening, at.opening + length)),
  };
}
