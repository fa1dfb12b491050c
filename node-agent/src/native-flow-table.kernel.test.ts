/** The flow table of the native addon, on maps of the real kernel. Needs root. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  salConfig,
  salKey,
  salLimit,
  salSlot,
  salState,
  type SalKey,
  type SalSlot,
} from './datapath/abi.generated.js';
import { addonPath, failure, makeFixture, range, u32, type Fixture } from './native.fixture.js';
import { native, type BpfMap, type FlowTable } from './native.js';

const source = `
MAP(BPF_MAP_TYPE_ARRAY, buckets, 4, BPF_F_MMAPABLE, __u32, struct sal_bucket);
MAP(BPF_MAP_TYPE_ARRAY, slots, 4, BPF_F_MMAPABLE, __u32, struct sal_slot);
`;

let at: Fixture;

beforeAll(() => {
  at = makeFixture(source);
});

afterAll(() => {
  at.dispose();
});

const capacity = 15;

interface Opened {
  table: FlowTable;
  buckets: BpfMap;
  slots: BpfMap;
  config: Buffer;
}

function config(bucketMask: number, slots: number, seed = 1n): Buffer {
  const buffer = Buffer.alloc(salConfig.size);
  salConfig.write(buffer, 0, {
    abiVersion: salLimit.ABI_VERSION,
    bucketMask,
    slots,
    kernelContext: 0,
    seed: range(salLimit.SEED_WORDS).map((i) =>
      BigInt.asUintN(64, seed * 0x9e3779b97f4a7c15n * BigInt(i + 1)),
    ),
    mappedPrefixes: 0n,
  });
  return buffer;
}

async function openTable(bucketCount = 4, slotCount = capacity + 1): Promise<Opened> {
  const object = native().openObject(at.objectPath);
  object.setMaxEntries('buckets', bucketCount);
  object.setMaxEntries('slots', slotCount);
  await object.load();
  const buckets = object.map('buckets');
  const slots = object.map('slots');
  object.close();
  const shape = config(bucketCount - 1, slotCount);
  return { table: native().flowTable(buckets, slots, shape), buckets, slots, config: shape };
}

const mapped = (last: number): Buffer =>
  Buffer.from([...Array<number>(10).fill(0), 255, 255, 10, 0, 0, last]);

function keyOf(port: number): SalKey {
  return {
    scope: { pod: 1, direction: 0, protocol: 6 },
    tuple: { local: mapped(1), remote: mapped(2), localPort: port, remotePort: 80 },
  };
}

function bodies(ports: number[], change: Partial<SalSlot> = {}): Buffer {
  const buffer = Buffer.alloc(ports.length * salSlot.size);
  ports.forEach((port, i) => {
    const key = keyOf(port);
    const entry = {
      match: key,
      to: key.tuple,
      state: salState.PENDING,
      flowId: BigInt(port),
      migration: 1n,
    };
    const counters = {
      kept: 0,
      flags: 0,
      addressDiff: 0,
      portDiff: 0,
      packets: 0n,
      bytes: 0n,
      keptLater: 0,
      keptSeq: 0,
      keptAck: 0,
    };
    salSlot.write(buffer, i * salSlot.size, { ...entry, ...counters, ...change });
  });
  return buffer;
}

function keys(ports: number[]): Buffer {
  const buffer = Buffer.alloc(ports.length * salKey.size);
  ports.forEach((port, i) => {
    salKey.write(buffer, i * salKey.size, keyOf(port));
  });
  return buffer;
}

/** As the kernel's half would: straight into the slot. */
function poke(map: BpfMap, slot: number, change: Partial<SalSlot>): void {
  const value = map.lookup(u32(slot)) ?? Buffer.alloc(0);
  salSlot.write(value, 0, { ...salSlot.read(value), ...change });
  map.update(u32(slot), value);
}

describe('the flow table', () => {
  it('finds what was inserted, and nothing else', async () => {
    const { table } = await openTable();
    const slots = table.insert(bodies([1, 2, 3]));
    expect([...table.find(keys([1, 2, 3, 4]))]).toEqual([...slots, 0]);
    expect(new Set(slots).size).toBe(3);
    expect(slots).not.toContain(0);
    expect([...table.published()].sort()).toEqual([...slots].sort());
    expect(range(3).map((i) => salSlot.read(table.read(slots), i * salSlot.size).flowId)).toEqual([
      1n,
      2n,
      3n,
    ]);
    expect(table.usage()).toEqual({ capacity, used: 3, retired: 0 });
    table.close();
    table.close();
    expect(failure(() => table.usage()).code).toBe('EBADF');
  });

  it('starts counters and kept marks at zero, whatever it is given', async () => {
    const { table } = await openTable();
    const slots = table.insert(
      bodies([1], { packets: 5n, bytes: 6n, kept: 3, keptLater: 2, keptSeq: 7, keptAck: 8 }),
    );
    const zero = { packets: 0n, bytes: 0n, kept: 0, keptLater: 0, keptSeq: 0, keptAck: 0 };
    expect(salSlot.read(table.read(slots))).toMatchObject(zero);
  });

  it('replaces an entry in place and carries its counters over', async () => {
    const { table, slots: map } = await openTable();
    const [old = 0] = table.insert(bodies([1]));
    poke(map, old, { packets: 11n, bytes: 22n });
    const fresh = table.insert(bodies([1], { state: salState.ACTIVE, migration: 2n }));
    expect(fresh[0]).not.toBe(old);
    expect([...table.find(keys([1]))]).toEqual([...fresh]);
    expect(salSlot.read(table.read(fresh))).toMatchObject({
      packets: 11n,
      bytes: 22n,
      migration: 2n,
      state: salState.ACTIVE,
    });
    expect(table.usage()).toEqual({ capacity, used: 1, retired: 1 });
  });

  it('forgets what was kept when a slot enters HELD, and only then', async () => {
    const { table, slots: map } = await openTable();
    const slots = table.insert(bodies([1]));
    const kept = { kept: 3, keptLater: 4, keptSeq: 100, keptAck: 200 };
    poke(map, slots[0] ?? 0, kept);
    table.setState(slots, salState.HELD);
    expect(salSlot.read(table.read(slots))).toMatchObject({
      kept: 0,
      keptLater: 0,
      flags: 0,
      keptSeq: 0,
      keptAck: 0,
      state: salState.HELD,
    });
    poke(map, slots[0] ?? 0, kept);
    table.setState(slots, salState.HELD);
    table.setState(slots, salState.ACTIVE);
    expect(salSlot.read(table.read(slots))).toMatchObject({ ...kept, state: salState.ACTIVE });
  });

  it('takes entries out, and refuses to name what is not there', async () => {
    const { table } = await openTable();
    const slots = table.insert(bodies([1, 2]));
    table.remove(slots.subarray(0, 1));
    expect([...table.find(keys([1, 2]))]).toEqual([0, slots[1]]);
    expect(failure(() => table.remove(slots)).code).toBe('ENOENT');
    expect(failure(() => table.setState(Uint32Array.of(0), salState.HELD)).code).toBe('ENOENT');
    expect(failure(() => table.setState(slots.subarray(1), 9)).code).toBe('EINVAL');
    expect(failure(() => table.read(Uint32Array.of(99))).code).toBe('ENOENT');
    expect(table.usage()).toEqual({ capacity, used: 1, retired: 1 });
    table.remove(Uint32Array.of(slots[1] ?? 0, slots[1] ?? 0));
    expect(table.usage()).toEqual({ capacity, used: 0, retired: 2 });
  });

  it('changes nothing when slots run out, or when a key comes twice', async () => {
    const { table } = await openTable();
    table.insert(bodies(range(10)));
    expect(failure(() => table.insert(bodies(range(6).map((i) => 100 + i))))).toMatchObject({
      code: 'ENOSPC',
    });
    expect(failure(() => table.insert(bodies([50, 51, 50]))).code).toBe('EINVAL');
    expect(table.usage()).toEqual({ capacity, used: 10, retired: 0 });
    expect([...table.find(keys([50, 51]))]).toEqual([0, 0]);
    expect(table.insert(bodies([50, 51]))).toHaveLength(2);
  });

  it('changes nothing when a bucket runs out, even within one call', async () => {
    const ways = salLimit.BUCKET_WAYS;
    const { table } = await openTable(1, 64);
    expect(failure(() => table.insert(bodies(range(ways + 1)))).code).toBe('ENOSPC');
    expect(table.usage().used).toBe(0);
    table.insert(bodies(range(ways)));
    expect(failure(() => table.insert(bodies([99]))).message).toMatch(/bucket is full/);
    table.insert(bodies(range(ways), { migration: 2n }));
    expect([...table.find(keys(range(ways)))]).not.toContain(0);
    expect(table.usage()).toEqual({ capacity: 63, used: ways, retired: ways });
  });

  it('uses retired slots again, after a grace period, when no other is left', async () => {
    const { table } = await openTable();
    table.remove(table.insert(bodies(range(10))));
    expect(table.usage().retired).toBe(10);
    table.insert(bodies(range(5)));
    expect(table.usage().retired).toBe(10);
    table.insert(bodies([20]));
    expect(table.usage()).toEqual({ capacity, used: 6, retired: 0 });
  });

  it('is adopted as it was left', async () => {
    const first = await openTable();
    const slots = first.table.insert(bodies([1, 2, 3]));
    first.table.remove(slots.subarray(0, 1));
    first.table.close();
    const second = native().flowTable(first.buckets, first.slots, first.config);
    expect([...second.find(keys([1, 2, 3]))]).toEqual([0, slots[1], slots[2]]);
    expect(second.usage()).toEqual({ capacity, used: 2, retired: 1 });
    expect(second.insert(bodies(range(13).map((i) => 100 + i)))).toHaveLength(13);
    expect([...second.find(keys([2, 3]))]).toEqual([slots[1], slots[2]]);
  });

  it('is not adopted with another seed or another shape', async () => {
    const { table, buckets, slots } = await openTable();
    table.insert(bodies(range(8)));
    const again = (shape: Buffer) => failure(() => native().flowTable(buckets, slots, shape)).code;
    expect(again(config(3, capacity + 1, 2n))).toBe('EUCLEAN');
    expect(again(config(7, capacity + 1))).toBe('EINVAL');
    expect(again(config(2, capacity + 1))).toBe('EINVAL');
    expect(again(config(3, 64))).toBe('EINVAL');
    expect(again(Buffer.alloc(salConfig.size))).toBe('EPROTONOSUPPORT');
    expect(failure(() => native().flowTable(slots, buckets, config(3, capacity + 1))).code).toBe('EINVAL');
  });

  it('survives a writer that is killed between any two stores', async () => {
    const { table, buckets, slots, config: shape } = await openTable(32, 200);
    table.close();
    buckets.pin(join(at.bpffs, 'killed_buckets'));
    slots.pin(join(at.bpffs, 'killed_slots'));
    const load = bodies(range(60)).toString('base64');
    const script = `
      const native = require(${JSON.stringify(addonPath)});
      const open = (name) => native.openPinnedMap(${JSON.stringify(at.bpffs)} + '/' + name);
      const table = native.flowTable(open('killed_buckets'), open('killed_slots'), Buffer.from('${shape.toString('base64')}', 'base64'));
      const load = Buffer.from('${load}', 'base64');
      console.log('writing');
      for (;;) {
        table.insert(load.subarray(0, 128 * (1 + Math.random() * 59 | 0)));
        const all = table.published();
        table.remove(all.subarray(0, Math.random() * all.length | 0));
      }`;
    for (const round of range(8)) {
      const writer = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(writer.stdout, 'data');
      await sleep(5 + round * 3);
      writer.kill('SIGKILL');
      await once(writer, 'exit');
      const heir = native().flowTable(buckets, slots, shape);
      const published = [...heir.published()];
      const found = [...heir.find(keys(range(60)))].filter((slot) => slot !== 0);
      expect(found.sort()).toEqual(published.sort());
      heir.insert(bodies(range(60), { migration: 2n }));
      expect([...heir.find(keys(range(60)))]).not.toContain(0);
      heir.close();
    }
  });
});
