/** The memory that services refer to, shared with the kernel: replicas with what was seen of each, choices, counters. */
import { salEndpoint, salReplica, salServiceCount } from '../abi.generated.js';
import { readEndpoint, writeEndpoint, type Placed } from './encode.js';
import type { ServiceMaps } from './connect.js';
import { Regions } from './regions.js';
import type { Endpoint } from '../types.js';
import type { ServiceRule } from './types.js';

/** Elements of an array map begin at multiples of 8 bytes. */
const replicaStride = Math.ceil(salReplica.size / 8) * 8;

/** Parts that nothing in the table refers to any more. */
export type Left = Pick<Placed, 'choices' | 'size' | 'replicas' | 'count'>;

/** With what was written there; absent where an earlier process did it. */
export type Known = Left & { rule?: Pick<ServiceRule, 'replicas'> };

export interface Sight extends Endpoint {
  connections: number;
  failures: number;
  rttUs: number;
}

export class ServiceMemory {
  private readonly choices: Uint32Array;
  private readonly replicas: Buffer;
  private readonly counts: Buffer;
  private readonly choiceRegions: Regions;
  private readonly replicaRegions: Regions;

  constructor(maps: ServiceMaps) {
    const choices = maps.sal_choices.mapped();
    this.choices = new Uint32Array(choices.buffer, choices.byteOffset, choices.length / 4);
    this.replicas = maps.sal_replicas.mapped();
    this.counts = maps.sal_service_counts.mapped();
    this.choiceRegions = new Regions(this.choices.length);
    this.replicaRegions = new Regions(Math.floor(this.replicas.length / replicaStride));
  }

  /** What an earlier process has put there. No two services share a part. */
  adopt(all: readonly Left[]): void {
    this.choiceRegions.adopt(
      all.filter(({ size }) => size > 0).map(({ choices, size }) => ({ start: choices, length: size })),
    );
    this.replicaRegions.adopt(
      all.filter(({ count }) => count > 0).map(({ replicas, count }) => ({ start: replicas, length: count })),
    );
  }

  /** After a grace period. */
  free({ choices, size, replicas, count }: Left): void {
    this.choiceRegions.give(choices, size);
    this.replicaRegions.give(replicas, count);
  }

  /** Where they are; undefined where there is no room. What was seen of those that were there `before` goes on. */
  putReplicas(replicas: readonly Endpoint[], before: Known | undefined): number | undefined {
    if (replicas.length === 0) return 0;
    const start = this.replicaRegions.take(replicas.length);
    if (start === undefined) return undefined;
    const seen = this.seenPlaces(before);
    for (const [i, replica] of replicas.entries()) {
      const at = (start + i) * replicaStride;
      writeEndpoint(this.replicas, at, replica);
      // A connection that is counted in this very moment is lost to the count.
      const from = seen.size === 0 ? undefined : seen.get(nameOf(replica));
      if (from === undefined) this.replicas.fill(0, at + salEndpoint.size, at + replicaStride);
      else this.replicas.copyWithin(at + salEndpoint.size, from + salEndpoint.size, from + replicaStride);
    }
    return start;
  }

  /** The same for choices. */
  putChoices(choices: Uint32Array): number | undefined {
    if (choices.length === 0) return 0;
    const start = this.choiceRegions.take(choices.length);
    if (start !== undefined) this.choices.set(choices, start);
    return start;
  }

  /** Of a service that is new. */
  clearCount(id: number): void {
    this.counts.fill(0, id * salServiceCount.size, (id + 1) * salServiceCount.size);
  }

  count(id: number): { turn: bigint; refused: bigint; waited: bigint } {
    return salServiceCount.read(this.counts, id * salServiceCount.size);
  }

  /** Of all replicas. */
  connections({ replicas, count }: Left): number {
    const at = salReplica.offset.connections;
    let sum = 0;
    for (let i = replicas; i < replicas + count; i++)
      sum += this.replicas.readUInt32LE(i * replicaStride + at);
    return sum;
  }

  /** Those of which something was seen. */
  seen(part: Known): Sight[] {
    return this.placesOfSeen(part).map((place) => {
      const { connections, failures, rttUs } = salReplica.read(this.replicas, place * replicaStride);
      const { address, port } = this.endpoint(part, place);
      return { address, port, connections, failures, rttUs };
    });
  }

  usage(): { choices: number; replicas: number } {
    return { choices: this.choiceRegions.used, replicas: this.replicaRegions.used };
  }

  private seenPlaces(part: Known | undefined): Map<string, number> {
    const places = part === undefined ? [] : this.placesOfSeen(part);
    return new Map(
      places.map((place) => [nameOf(this.endpoint(part as Known, place)), place * replicaStride]),
    );
  }

  private placesOfSeen({ replicas, count }: Left): number[] {
    const { connections, failures } = salReplica.offset;
    const places: number[] = [];
    for (let place = replicas; place < replicas + count; place++) {
      const at = place * replicaStride;
      if (this.replicas.readUInt32LE(at + connections) + this.replicas.readUInt32LE(at + failures) > 0)
        places.push(place);
    }
    return places;
  }

  /** Text is made of addresses only where there is none. */
  private endpoint({ replicas, rule }: Known, place: number): Endpoint {
    return rule?.replicas[place - replicas] ?? readEndpoint(this.replicas, place * replicaStride);
  }
}

function nameOf({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}
