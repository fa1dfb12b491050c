/** The memory that services refer to, shared with the kernel: replicas with what was seen of each, choices, counters. */
import { salEndpoint, salReplica, salServiceCount } from '../abi.generated.js';
import { endpointKey, readEndpoint, writeEndpoint, type Placed } from './encode.js';
import type { ServiceMaps } from './connect.js';
import { MappedArray } from './mapped-array.js';
import { Regions } from './regions.js';
import type { Endpoint } from '../types.js';
import type { ServiceRule } from './types.js';

/** Elements of an array map begin at multiples of 8 bytes. */
const replicaStride = Math.ceil(salReplica.size / 8) * 8;
const strideWords = replicaStride / 4;
const [connectionsWord, failuresWord] = [salReplica.offset.connections / 4, salReplica.offset.failures / 4];
/** An element of the map of choices has so many. */
const choicesEach = 2;

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
  private readonly choices: MappedArray;
  private readonly replicas: MappedArray;
  private readonly counts: Buffer;
  private readonly choiceRegions: Regions;
  private readonly replicaRegions: Regions;

  constructor(maps: ServiceMaps) {
    this.choices = new MappedArray(maps.sal_choices);
    this.replicas = new MappedArray(maps.sal_replicas);
    this.counts = maps.sal_service_counts.mapped();
    this.choiceRegions = new Regions(this.choices.capacity * choicesEach);
    this.replicaRegions = new Regions(this.replicas.capacity);
  }

  /** What an earlier process has put there. No two services share a part. */
  adopt(all: readonly Left[]): void {
    for (const { choices, size, replicas, count } of all) {
      this.choices.reach(Math.ceil((choices + size) / choicesEach));
      this.replicas.reach(replicas + count);
    }
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
    this.replicas.reach(start + replicas.length);
    const { bytes } = this.replicas;
    const seen = this.seenPlaces(before);
    for (const [i, replica] of replicas.entries()) {
      const at = (start + i) * replicaStride;
      writeEndpoint(bytes, at, replica);
      // A connection that is counted in this very moment is lost to the count.
      const from = seen.size === 0 ? undefined : seen.get(endpointKey(replica));
      if (from === undefined) bytes.fill(0, at + salEndpoint.size, at + replicaStride);
      else bytes.copyWithin(at + salEndpoint.size, from + salEndpoint.size, from + replicaStride);
    }
    return start;
  }

  /** The same for choices. */
  putChoices(choices: Uint32Array): number | undefined {
    if (choices.length === 0) return 0;
    const start = this.choiceRegions.take(choices.length);
    if (start === undefined) return undefined;
    this.choices.reach(Math.ceil((start + choices.length) / choicesEach));
    this.choices.words.set(choices, start);
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
  connections(part: Left): number {
    return this.summed(part, [connectionsWord]);
  }

  /** Changes whenever one of the replicas is connected to, or fails: modulo 2 to the 32. */
  counted(part: Left): number {
    return this.summed(part, [connectionsWord, failuresWord]) >>> 0;
  }

  /** By words: 100,000 replicas are looked at each second. */
  private summed({ replicas, count }: Left, counters: readonly number[]): number {
    const { words } = this.replicas;
    let sum = 0;
    for (let at = replicas * strideWords, end = at + count * strideWords; at < end; at += strideWords)
      for (const counter of counters) sum += words[at + counter] as number;
    return sum;
  }

  /** Those of which something was seen. */
  seen(part: Known): Sight[] {
    return this.placesOfSeen(part).map((place) => {
      const { connections, failures, rttUs } = salReplica.read(this.replicas.bytes, place * replicaStride);
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
      places.map((place) => [endpointKey(this.endpoint(part as Known, place)), place * replicaStride]),
    );
  }

  private placesOfSeen({ replicas, count }: Left): number[] {
    const { connections, failures } = salReplica.offset;
    const places: number[] = [];
    for (let place = replicas; place < replicas + count; place++) {
      const at = place * replicaStride;
      if (
        this.replicas.bytes.readUInt32LE(at + connections) + this.replicas.bytes.readUInt32LE(at + failures) >
        0
      )
        places.push(place);
    }
    return places;
  }

  /** Text is made of addresses only where there is none. */
  private endpoint({ replicas, rule }: Known, place: number): Endpoint {
    return rule?.replicas[place - replicas] ?? readEndpoint(this.replicas.bytes, place * replicaStride);
  }
}
