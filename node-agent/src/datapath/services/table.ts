/**
 * The service table in the kernel. What a service refers to is written where nobody looks yet, then the service itself is
 * replaced by one update of its element (bpf/lib/checked.h says how that is read), and what it referred to before is used
 * again only after a grace period: whoever connects meanwhile meets the old service or the new one, whole.
 */
import { ServalError } from '@serval/api';
import { native } from '../../native.js';
import { salEndpoint, salLimit, salService, salServiceFlag } from '../abi.generated.js';
import { explained } from '../errors.js';
import { encodeService, endpointBytes, readServiceAddress, serviceKey, type Placed } from './encode.js';
import type { ServiceMaps } from './connect.js';
import { ServiceMemory, type Left } from './memory.js';
import { OwnReplicas } from './own-replicas.js';
import type { ReplicaSight, ServiceAddress, ServiceCount, ServiceRule } from './types.js';

interface Entry extends Placed {
  key: Buffer;
  /** what is in the kernel; absent where an earlier process put it there */
  rule?: ServiceRule;
  /** sum of its replicas' counters when it was looked at last, modulo 2 to the 32 */
  counted: number;
  /** it was used since then */
  used: boolean;
}

/** What the kernel may still be reading. */
interface Retired extends Left {
  /** of a service that is gone */
  id?: number;
}

interface Written {
  rule: ServiceRule;
  entry: Entry;
  old: Entry | undefined;
}

/** so many elements in one call */
const batchSize = 4096;

export class ServiceTable {
  private readonly entries = new Map<string, Entry>();
  private readonly memory: ServiceMemory;
  private readonly own: OwnReplicas;
  private readonly freeIds: number[] = [];
  private nextId = 0;
  /** what was taken out, and has not come back yet */
  private readonly retiring = new Set<Promise<void>>();
  /** one change after the other */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly maps: ServiceMaps) {
    this.memory = new ServiceMemory(maps);
    const ids = this.adopt();
    this.own = new OwnReplicas(maps.sal_own_replicas, (id) => ids.has(id));
  }

  /** What an earlier process has left goes on until it is replaced or removed. Returns the numbers that are taken. */
  private adopt(): Set<number> {
    const { count, keys, values } = this.maps.sal_services.entries();
    const ids = new Set<number>();
    for (let i = 0; i < count; i++) {
      const key = Buffer.from(keys.subarray(i * salEndpoint.size, (i + 1) * salEndpoint.size));
      const value = salService.read(values, i * salService.size);
      const { id, choices, replicas } = value;
      const size = value.flags & salServiceFlag.EVEN ? 0 : value.size;
      ids.add(id);
      this.entries.set(serviceKey(readServiceAddress(key)), {
        ...{ key, id, choices, size, replicas },
        count: value.count,
        counted: 0,
        used: false,
      });
    }
    this.memory.adopt([...this.entries.values()]);
    for (const entry of this.entries.values()) entry.counted = this.memory.counted(entry);
    for (const id of ids) this.nextId = Math.max(this.nextId, id + 1);
    for (let id = 0; id < this.nextId; id++) if (!ids.has(id)) this.freeIds.push(id);
    return ids;
  }

  /** Keys that are in the kernel. */
  known(): ServiceAddress[] {
    return [...this.entries.values()].map(({ key }) => readServiceAddress(key));
  }

  /** Whether the kernel has this very rule. */
  has(rule: ServiceRule): boolean {
    return this.entries.get(serviceKey(rule))?.rule === rule;
  }

  /**
   * Takes these away, then puts or replaces those, each whole. What is among both is replaced.
   * @throws ServalError ERR_TABLE_FULL: those that there was no room for are as they were, all others are done
   */
  change(rules: readonly ServiceRule[], gone: readonly ServiceAddress[] = []): Promise<void> {
    const work = this.turn.then(() => explained('the service table', () => this.changeNow(rules, gone)));
    this.turn = work.catch(() => undefined);
    return work;
  }

  private async changeNow(rules: readonly ServiceRule[], gone: readonly ServiceAddress[]): Promise<void> {
    // Of several for one place the last counts: each is put once, so that nothing is given back twice.
    const last = new Map(rules.map((rule) => [serviceKey(rule), rule]));
    const unique = [...last.values()];
    this.remove(new Set(gone.map(serviceKey).filter((key) => !last.has(key))));
    const missing: ServiceRule[] = [];
    for (let at = 0; at < unique.length; at += batchSize) {
      missing.push(...(await this.put(unique.slice(at, at + batchSize))));
      // Others want their turn between thousands of services.
      if (at + batchSize < unique.length) await new Promise((resolve) => setImmediate(resolve));
    }
    if (missing.length > 0) throw full(missing);
  }

  /** Returns those that there is no room for. */
  private async put(rules: readonly ServiceRule[]): Promise<ServiceRule[]> {
    const missing: ServiceRule[] = [];
    let written: Written[] = [];
    for (const rule of rules) {
      const old = this.entries.get(serviceKey(rule));
      let entry = this.place(rule, old);
      if (entry === undefined) {
        // What was replaced just now may be what is missing.
        this.publish(written);
        written = [];
        while (entry === undefined && this.retiring.size > 0) {
          await Promise.all(this.retiring);
          entry = this.place(rule, old);
        }
      }
      if (entry === undefined) missing.push(rule);
      else written.push({ rule, entry, old });
    }
    this.publish(written);
    return missing;
  }

  private publish(written: readonly Written[]): void {
    if (written.length === 0) return;
    for (const { old } of written) if (old !== undefined) this.own.forget(old.id);
    const keys = Buffer.concat(written.map(({ entry }) => entry.key));
    const values = Buffer.concat(written.map(({ rule, entry }) => encodeService(entry.key, rule, entry)));
    this.maps.sal_services.updateBatch(keys, values, written.length);
    const retired: Retired[] = [];
    for (const { rule, entry, old } of written) {
      this.own.put(entry.id, rule.own);
      this.entries.set(serviceKey(rule), entry);
      if (old !== undefined) retired.push(withoutShared(old, entry));
    }
    this.retire(retired);
  }

  /** Write what the service will refer to; what is the same as before stays where it is. Undefined where there is no room. */
  private place(rule: ServiceRule, old: Entry | undefined): Entry | undefined {
    const id = old?.id ?? this.newId();
    if (id === undefined) return undefined;
    const parts = this.placeParts(rule, old);
    if (parts === undefined) {
      if (old === undefined) this.freeIds.push(id);
      return undefined;
    }
    if (old === undefined) this.memory.clearCount(id);
    const key = old?.key ?? endpointBytes(rule, rule.protocol);
    const placed = { id, size: choicesOf(rule).length, count: rule.replicas.length, ...parts };
    const used = old !== undefined && this.isUsed(old);
    return { key, ...placed, rule, counted: this.memory.counted(placed), used };
  }

  private placeParts(
    rule: ServiceRule,
    old: Entry | undefined,
  ): Pick<Placed, 'replicas' | 'choices'> | undefined {
    const isSame = old?.rule !== undefined && equalReplicas(old.rule, rule);
    const replicas = isSame ? old.replicas : this.memory.putReplicas(rule.replicas, old);
    if (replicas === undefined) return undefined;
    const choices = this.placeChoices(rule, old);
    if (choices !== undefined) return { replicas, choices };
    if (!isSame) this.memory.free({ choices: 0, size: 0, replicas, count: rule.replicas.length });
    return undefined;
  }

  private placeChoices(rule: ServiceRule, old: Entry | undefined): number | undefined {
    const choices = choicesOf(rule);
    const isSame = old !== undefined && old.size > 0 && old.rule?.choices === choices;
    return isSame ? old.choices : this.memory.putChoices(choices);
  }

  private newId(): number | undefined {
    return this.freeIds.pop() ?? (this.nextId < salLimit.SERVICES_MAX ? this.nextId++ : undefined);
  }

  private remove(keys: ReadonlySet<string>): void {
    const gone = [...keys].flatMap((key) => this.entries.get(key) ?? []);
    if (gone.length === 0) return;
    this.maps.sal_services.deleteBatch(Buffer.concat(gone.map(({ key }) => key)), gone.length);
    for (const { id } of gone) this.own.forget(id);
    for (const key of keys) this.entries.delete(key);
    this.retire(gone);
  }

  /** Nobody waits for it, unless room is short: it comes back later. */
  private retire(retired: readonly Retired[]): void {
    if (retired.length === 0) return;
    const work = native()
      .gracePeriod()
      .then(
        () => this.free(retired),
        () => undefined, // a kernel without any way to wait for one: the room stays taken
      )
      .finally(() => this.retiring.delete(work));
    this.retiring.add(work);
  }

  private free(retired: readonly Retired[]): void {
    for (const part of retired) {
      this.memory.free(part);
      if (part.id !== undefined) this.freeIds.push(part.id);
    }
  }

  /** The number that the kernel knows it by, which a choice by client goes by; undefined for what is not in the table. */
  idOf(address: ServiceAddress): number | undefined {
    return this.entries.get(serviceKey(address))?.id;
  }

  count(address: ServiceAddress): ServiceCount {
    const entry = this.entries.get(serviceKey(address));
    if (entry === undefined) return { turn: 0, resolved: 0, refused: 0, waited: 0 };
    const { turn, refused, waited } = this.memory.count(entry.id);
    return {
      turn: Number(turn),
      resolved: this.memory.connections(entry),
      refused: Number(refused),
      waited: Number(waited),
    };
  }

  /** Services that somebody has connected to since this was asked last. 10,000 of 10 replicas take 2 ms. */
  usedSince(): ServiceAddress[] {
    const used: ServiceAddress[] = [];
    for (const entry of this.entries.values()) {
      if (!this.isUsed(entry)) continue;
      entry.used = false;
      entry.counted = this.memory.counted(entry);
      used.push(entry.rule ?? readServiceAddress(entry.key));
    }
    return used;
  }

  private isUsed(entry: Entry): boolean {
    return entry.used || this.memory.counted(entry) !== entry.counted;
  }

  /** What this node's sockets have seen of a service's replicas, those of which nothing was seen left out. */
  seen(address: ServiceAddress): ReplicaSight[] {
    const entry = this.entries.get(serviceKey(address));
    if (entry === undefined) return [];
    return this.memory.seen(entry).map((sight) => ({ ...sight, protocol: address.protocol }));
  }

  usage(): { services: number; choices: number; replicas: number } {
    return { services: this.entries.size, ...this.memory.usage() };
  }
}

/** What the new entry goes on using is not given back, nor is its number. Both are in use, so that one place is one thing. */
function withoutShared(old: Entry, next: Entry): Retired {
  return {
    choices: old.choices,
    size: next.size > 0 && old.choices === next.choices ? 0 : old.size,
    replicas: old.replicas,
    count: next.count > 0 && old.replicas === next.replicas ? 0 : old.count,
  };
}

const noChoices = new Uint32Array();

/** Those that the kernel has to look at. */
function choicesOf({ even, choices }: ServiceRule): Uint32Array {
  return even === true ? noChoices : choices;
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

function full(missing: readonly ServiceRule[]): ServalError {
  const [{ address, port, replicas }] = missing as [ServiceRule];
  const others = missing.length > 1 ? `, nor for ${missing.length - 1} others` : '';
  return new ServalError('ERR_TABLE_FULL', {
    subject: `service at ${address} port ${port} with ${replicas.length} replicas`,
    reason: `the service table has no room left for it${others}`,
    remedy:
      'Raise services.replicas and services.choices in the configuration of a new data plane, or declare fewer',
  });
}
