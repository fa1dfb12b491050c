/**
 * The service table in the kernel. What a service refers to is written where nobody looks yet, then the service itself is
 * replaced by one update of its element, and what it referred to before is used again only after a grace period: whoever
 * connects meanwhile meets the old service or the new one, whole.
 */
import { ServalError } from '@serval/api';
import { native } from '../../native.js';
import {
  salEndpoint,
  salLimit,
  salOwnKey,
  salReplica,
  salService,
  salServiceCount,
  salServiceFlag,
} from '../abi.generated.js';
import { explained } from '../errors.js';
import {
  encodeService,
  endpointBytes,
  readServiceAddress,
  serviceKey,
  writeEndpoint,
  type Placed,
} from './encode.js';
import type { ServiceMaps } from './maps.js';
import { Regions } from './regions.js';
import type { ReplicaSight, ServiceAddress, ServiceCount, ServiceRule } from './types.js';

interface Entry extends Placed {
  key: Buffer;
  /** what is in the kernel; absent where an earlier process put it there */
  rule?: ServiceRule;
}

/** Elements of an array map begin at multiples of 8 bytes. */
const replicaStride = Math.ceil(salReplica.size / 8) * 8;
/** so many elements in one call */
const batchSize = 4096;

export class ServiceTable {
  private readonly entries = new Map<string, Entry>();
  private readonly choices: Uint32Array;
  private readonly replicas: Buffer;
  private readonly counts: Buffer;
  private readonly choiceRegions: Regions;
  private readonly replicaRegions: Regions;
  private readonly freeIds: number[] = [];
  private nextId = 0;
  /** one change after the other */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly maps: ServiceMaps) {
    const choices = maps.sal_choices.mapped();
    this.choices = new Uint32Array(choices.buffer, choices.byteOffset, choices.length / 4);
    this.replicas = maps.sal_replicas.mapped();
    this.counts = maps.sal_service_counts.mapped();
    this.choiceRegions = new Regions(this.choices.length);
    this.replicaRegions = new Regions(this.replicas.length / replicaStride);
    this.adopt();
  }

  /** What an earlier process has left goes on until it is replaced or removed. */
  private adopt(): void {
    const { count, keys, values } = this.maps.sal_services.entries();
    const ids = new Set<number>();
    for (let i = 0; i < count; i++) {
      const key = Buffer.from(keys.subarray(i * salEndpoint.size, (i + 1) * salEndpoint.size));
      const service = salService.read(values, i * salService.size);
      const { id, choices, replicas, count: replicaCount } = service;
      const size = service.flags & salServiceFlag.EVEN ? 0 : service.size;
      ids.add(id);
      this.entries.set(serviceKey(readServiceAddress(key)), {
        key,
        id,
        choices,
        size,
        replicas,
        count: replicaCount,
      });
    }
    const all = [...this.entries.values()];
    this.choiceRegions.adopt(
      all.filter(({ size }) => size > 0).map(({ choices, size }) => ({ start: choices, length: size })),
    );
    // A service may share its replicas with none, so each is one part.
    this.replicaRegions.adopt(
      all.filter(({ count }) => count > 0).map(({ replicas, count }) => ({ start: replicas, length: count })),
    );
    this.nextId = ids.size === 0 ? 0 : Math.max(...ids) + 1;
    for (let id = 0; id < this.nextId; id++) if (!ids.has(id)) this.freeIds.push(id);
  }

  /** Keys that are in the kernel. */
  known(): ServiceAddress[] {
    return [...this.entries.values()].map(({ key }) => readServiceAddress(key));
  }

  /**
   * Put or replace these, each whole, and take those away. @throws ServalError ERR_TABLE_FULL: then those of the batch that
   * came before are in, the others are as they were
   */
  change(rules: readonly ServiceRule[], gone: readonly ServiceAddress[] = []): Promise<void> {
    const work = this.turn.then(() => explained('the service table', () => this.changeNow(rules, gone)));
    this.turn = work.catch(() => undefined);
    return work;
  }

  private async changeNow(rules: readonly ServiceRule[], gone: readonly ServiceAddress[]): Promise<void> {
    const old: Entry[] = [];
    for (let at = 0; at < rules.length; at += batchSize) {
      old.push(...(await this.put(rules.slice(at, at + batchSize), old)));
      // Others want their turn between thousands of services.
      if (at + batchSize < rules.length) await new Promise((resolve) => setImmediate(resolve));
    }
    old.push(...this.remove(gone));
    this.retire(old);
  }

  private async put(rules: readonly ServiceRule[], retired: Entry[]): Promise<Entry[]> {
    const placed: Array<{ rule: ServiceRule; entry: Entry; old: Entry | undefined }> = [];
    for (const rule of rules) {
      const old = this.entries.get(serviceKey(rule));
      let entry = this.place(rule, old);
      if (entry === undefined) {
        // What was replaced just now may be what is missing.
        this.publish(placed.splice(0), retired);
        await native().gracePeriod();
        this.free(retired.splice(0));
        entry = this.place(rule, this.entries.get(serviceKey(rule)));
      }
      if (entry === undefined) throw full(rule);
      placed.push({ rule, entry, old });
    }
    const replaced: Entry[] = [];
    this.publish(placed, replaced);
    return replaced;
  }

  private publish(
    placed: ReadonlyArray<{ rule: ServiceRule; entry: Entry; old: Entry | undefined }>,
    replaced: Entry[],
  ): void {
    if (placed.length === 0) return;
    for (const { old } of placed) if (old !== undefined) this.forgetOwn(old);
    const keys = Buffer.concat(placed.map(({ entry }) => entry.key));
    const values = Buffer.concat(placed.map(({ rule, entry }) => encodeService(rule, entry)));
    this.maps.sal_services.updateBatch(keys, values, placed.length);
    for (const { rule, entry, old } of placed) {
      this.rememberOwn(rule, entry);
      this.entries.set(serviceKey(rule), entry);
      if (old !== undefined) replaced.push(withoutShared(old, entry));
    }
  }

  /** Write what the service will refer to; what is the same as before stays where it is. Undefined where there is no room. */
  private place(rule: ServiceRule, old: Entry | undefined): Entry | undefined {
    const id = old?.id ?? this.freeIds.pop() ?? this.nextId++;
    const replicas = id < salLimit.SERVICES_MAX ? this.placeReplicas(rule, old) : undefined;
    const choices = replicas === undefined ? undefined : this.placeChoices(rule, old);
    if (replicas === undefined || choices === undefined) {
      if (replicas !== undefined && replicas !== old?.replicas)
        this.replicaRegions.give(replicas, rule.replicas.length);
      if (old === undefined) this.freeIds.push(id);
      return undefined;
    }
    return this.entry(rule, id, choices, replicas, old);
  }

  private entry(
    rule: ServiceRule,
    id: number,
    choices: number,
    replicas: number,
    old: Entry | undefined,
  ): Entry {
    if (old === undefined) this.counts.fill(0, id * salServiceCount.size, (id + 1) * salServiceCount.size);
    const key = old?.key ?? endpointBytes(rule, rule.protocol);
    return { key, id, choices, size: choicesOf(rule), replicas, count: rule.replicas.length, rule };
  }

  private placeReplicas(rule: ServiceRule, old: Entry | undefined): number | undefined {
    if (rule.replicas.length === 0) return 0;
    if (old?.rule !== undefined && equalReplicas(old.rule, rule)) return old.replicas;
    const start = this.replicaRegions.take(rule.replicas.length);
    if (start === undefined) return undefined;
    const seen = this.seenOf(old);
    for (const [i, replica] of rule.replicas.entries()) {
      const at = (start + i) * replicaStride;
      writeEndpoint(this.replicas, at, replica);
      // What was seen of it goes on; a connection that is counted in this very moment is lost to the count.
      const before = seen.get(replicaName(replica));
      if (before === undefined) this.replicas.fill(0, at + salEndpoint.size, at + replicaStride);
      else this.replicas.copyWithin(at + salEndpoint.size, before + salEndpoint.size, before + replicaStride);
    }
    return start;
  }

  /** Where the replicas are that anything was seen of, by their names. */
  private seenOf(entry: Entry | undefined): Map<string, number> {
    const seen = new Map<string, number>();
    for (const [i, replica] of entry?.rule?.replicas.entries() ?? []) {
      const at = ((entry as Entry).replicas + i) * replicaStride;
      if (this.isSeen(at)) seen.set(replicaName(replica), at);
    }
    return seen;
  }

  private isSeen(at: number): boolean {
    const { connections, failures } = salReplica.offset;
    return this.replicas.readUInt32LE(at + connections) + this.replicas.readUInt32LE(at + failures) > 0;
  }

  private placeChoices(rule: ServiceRule, old: Entry | undefined): number | undefined {
    if (choicesOf(rule) === 0) return 0;
    if (old !== undefined && old.size > 0 && old.rule?.choices === rule.choices) return old.choices;
    const start = this.choiceRegions.take(rule.choices.length);
    if (start !== undefined) this.choices.set(rule.choices, start);
    return start;
  }

  private remove(gone: readonly ServiceAddress[]): Entry[] {
    const entries = gone.flatMap((address) => this.entries.get(serviceKey(address)) ?? []);
    if (entries.length === 0) return [];
    this.maps.sal_services.deleteBatch(Buffer.concat(entries.map(({ key }) => key)), entries.length);
    for (const entry of entries) {
      this.forgetOwn(entry);
      this.entries.delete(serviceKey(readServiceAddress(entry.key)));
    }
    return entries;
  }

  /** Nobody waits for it: the room comes back later. */
  private retire(old: Entry[]): void {
    if (old.length === 0) return;
    native()
      .gracePeriod()
      .then(
        () => this.free(old),
        () => undefined, // a kernel without any way to wait for one: the room stays taken
      );
  }

  private free(old: readonly Entry[]): void {
    for (const { choices, size, replicas, count, key, id } of old) {
      if (size > 0) this.choiceRegions.give(choices, size);
      if (count > 0) this.replicaRegions.give(replicas, count);
      if (this.entries.get(serviceKey(readServiceAddress(key)))?.id !== id) this.freeIds.push(id);
    }
  }

  private rememberOwn(rule: ServiceRule, { id }: Entry): void {
    for (const [netns, number] of rule.own) {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(number);
      this.maps.sal_own_replicas.update(ownKey(netns, id), value);
    }
  }

  /** Before the replicas' numbers change: in between such a client gets what any other would. */
  private forgetOwn({ rule, id }: Entry): void {
    for (const netns of rule?.own.keys() ?? []) this.maps.sal_own_replicas.delete(ownKey(netns, id));
  }

  /** The number that the kernel knows it by, which a choice by client goes by; undefined for what is not in the table. */
  idOf(address: ServiceAddress): number | undefined {
    return this.entries.get(serviceKey(address))?.id;
  }

  count(address: ServiceAddress): ServiceCount {
    const entry = this.entries.get(serviceKey(address));
    if (entry === undefined) return { turn: 0, resolved: 0, refused: 0, waited: 0 };
    const { turn, refused, waited } = salServiceCount.read(this.counts, entry.id * salServiceCount.size);
    return {
      turn: Number(turn),
      resolved: this.connections(entry),
      refused: Number(refused),
      waited: Number(waited),
    };
  }

  /** Connections so far, and failures: changes whenever the service is used. */
  used(address: ServiceAddress): number {
    const entry = this.entries.get(serviceKey(address));
    return entry === undefined ? 0 : this.connections(entry);
  }

  /** What this node's sockets have seen of a service's replicas, those of which nothing was seen left out. */
  seen(address: ServiceAddress): ReplicaSight[] {
    const entry = this.entries.get(serviceKey(address));
    const sights: ReplicaSight[] = [];
    for (const [i, { address: replica, port }] of entry?.rule?.replicas.entries() ?? []) {
      const at = ((entry as Entry).replicas + i) * replicaStride;
      if (!this.isSeen(at)) continue;
      const { connections, failures, rttUs } = salReplica.read(this.replicas, at);
      sights.push({
        address: replica,
        port,
        protocol: address.protocol,
        connections,
        failures,
        rttUs,
      });
    }
    return sights;
  }

  private connections({ replicas, count }: Entry): number {
    const at = salReplica.offset.connections;
    let sum = 0;
    for (let i = replicas; i < replicas + count; i++)
      sum += this.replicas.readUInt32LE(i * replicaStride + at);
    return sum;
  }

  usage(): { services: number; choices: number; replicas: number } {
    return {
      services: this.entries.size,
      choices: this.choiceRegions.used,
      replicas: this.replicaRegions.used,
    };
  }
}

function ownKey(netns: bigint, service: number): Buffer {
  const buffer = Buffer.alloc(salOwnKey.size);
  salOwnKey.write(buffer, 0, { netns, service });
  return buffer;
}

/** What the new entry goes on using is not given back. Both are in use, so that one place is one thing. */
function withoutShared(old: Entry, next: Entry): Entry {
  return {
    ...old,
    size: next.size > 0 && old.choices === next.choices ? 0 : old.size,
    count: next.count > 0 && old.replicas === next.replicas ? 0 : old.count,
  };
}

/** How many of its choices the kernel has to look at. */
function choicesOf({ even, choices }: ServiceRule): number {
  return even === true ? 0 : choices.length;
}

function replicaName({ address, port }: { address: string; port: number }): string {
  return `${address} ${port}`;
}

function equalReplicas(a: ServiceRule, b: ServiceRule): boolean {
  if (a.replicas === b.replicas) return true;
  return (
    a.replicas.length === b.replicas.length &&
    a.replicas.every(
      ({ address, port }, i) => address === b.replicas[i]?.address && port === b.replicas[i].port,
    )
  );
}

function full(rule: ServiceRule): ServalError {
  return new ServalError('ERR_TABLE_FULL', {
    subject: `service at ${rule.address} port ${rule.port} with ${rule.replicas.length} replicas`,
    reason: 'the service table has no room left for it',
    remedy: 'Raise serviceTable in the configuration of a new data plane, or declare fewer services',
  });
}
