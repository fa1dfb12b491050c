/** The BPF half of the native addon on the real kernel. Needs root. Ring buffers and the flow table have files of their own. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  failure,
  failureOf,
  makeFixture,
  openDescriptors,
  range,
  u32,
  u64,
  type Fixture,
} from './native.fixture.js';
import { native, type BpfMap, type BpfObject, type BpfProgram, type NativeError } from './native.js';

const source = `
const volatile __s32 verdict = 0;
const volatile __u8 stamp[3] = {};

MAP(BPF_MAP_TYPE_HASH, hash, 20000, BPF_F_NO_PREALLOC, __u32, __u64);
MAP(BPF_MAP_TYPE_HASH, small, 4, 0, __u32, __u64);
MAP(BPF_MAP_TYPE_ARRAY, array, 8, 0, __u32, __u64);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, per_cpu, 2, 0, __u32, __u32);
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } ring SEC(".maps");

MAP(BPF_MAP_TYPE_ARRAY, shared, 2000, BPF_F_MMAPABLE, __u32, __u64);

SEC("tc") int stamps(struct __sk_buff *skb)
{
  __u32 key = 0, *mine = bpf_map_lookup_elem(&per_cpu, &key);
  __u64 *entry = bpf_map_lookup_elem(&hash, &key), *record;

  if (mine)
    *mine += 1;
  record = bpf_ringbuf_reserve(&ring, 8, 0);
  if (record) {
    *record = skb->mark;
    bpf_ringbuf_submit(record, 0);
  }
  for (int i = 0; i < 3; i++) {
    __u8 byte = stamp[i];
    bpf_skb_store_bytes(skb, 14 + i, &byte, 1, 0);
  }
  return entry ? (int)*entry : verdict;
}

SEC("tc") int other_maps(struct __sk_buff *skb)
{
  __u32 key = 0;
  return bpf_map_lookup_elem(&small, &key) || bpf_map_lookup_elem(&array, &key);
}

SEC("tc") int refused(struct __sk_buff *skb)
{
  return *(volatile int *)(long)skb->data;
}
`;

let at: Fixture;

beforeAll(() => {
  at = makeFixture(source);
});

afterAll(() => {
  at.dispose();
});

function open(): BpfObject {
  const object = native().openObject(at.objectPath);
  object.setAutoload('refused', false);
  return object;
}

async function loaded(): Promise<BpfObject> {
  const object = open();
  await object.load();
  return object;
}

/** One map of an object that nobody needs any more. */
async function mapOf(name: string): Promise<BpfMap> {
  const object = await loaded();
  const map = object.map(name);
  object.close();
  return map;
}

describe('an object', () => {
  it('tells what is wrong with a file that is no object', () => {
    const truncated = join(at.folder, 'truncated.o');
    writeFileSync(truncated, readFileSync(at.objectPath).subarray(0, 900));
    const error = failure(() => native().openObject(truncated));
    expect(error.operation).toBe(`bpf_object_open(${truncated})`);
    expect(error.code).toBe('ELOAD');
    expect(error.errno).toBeGreaterThan(0);
    expect(error.message).toMatch(/ELF/i);
    expect(failure(() => native().openObject('/nowhere')).code).toBe('ENOENT');
  });

  it('shows the end of the log when the verifier refuses a program', async () => {
    const object = native().openObject(at.objectPath);
    const error = await failureOf(object.load());
    expect(error).toMatchObject({ code: 'EACCES', errno: 13, operation: 'bpf_prog_load(refused)' });
    expect(error.verifierLog).toMatch(/invalid access to packet/);
    expect(error.verifierLog?.split('\n').length).toBeLessThanOrEqual(20);
    expect(failure(() => object.map('hash')).code).toBe('EINVAL');
    object.close();
  });

  it('loads on a thread of its own, and lets nobody touch it meanwhile', async () => {
    const object = open();
    const loading = object.load();
    expect(failure(() => object.map('hash')).code).toBe('EBUSY');
    await loading;
    expect(object.map('hash').info().name).toBe('hash');
    expect((await failureOf(Promise.resolve().then(() => object.load()))).code).toBe('EBUSY');
    const closed = open();
    const ending = closed.load();
    closed.close();
    await ending;
    expect(failure(() => closed.map('hash')).code).toBe('EBADF');
    object.close();
  });

  it('takes initial values of read-only variables, of exactly their size', async () => {
    const object = open();
    expect(failure(() => object.setVariable('nameless', u32(1))).code).toBe('ENOENT');
    expect(failure(() => object.setVariable('verdict', u64(1))).code).toBe('EINVAL');
    object.setVariable('verdict', u32(0xffffffff));
    object.setVariable('stamp', Buffer.from([1, 2, 3]));
    await object.load();
    expect(failure(() => object.setVariable('verdict', u32(1))).code).toBe('EBUSY');
    const program = object.program('stamps');
    const { verdict, data } = program.run({ data: Buffer.alloc(60) });
    expect(verdict).toBe(-1);
    expect(data).toHaveLength(60);
    expect([...data.subarray(14, 17)]).toEqual([1, 2, 3]);
    program.close();
    object.close();
  });

  it('lists its programs and hands out handles that outlive it', async () => {
    const before = openDescriptors();
    const object = await loaded();
    expect(object.programNames()).toEqual(['stamps', 'other_maps', 'refused']);
    expect(failure(() => object.program('refused')).code).toBe('EINVAL');
    const map = object.map('hash');
    const program = object.program('stamps');
    object.close();
    object.close();
    expect(failure(() => object.map('hash')).code).toBe('EBADF');
    map.update(u32(0), u64(5));
    expect(program.run({ data: Buffer.alloc(60) }).verdict).toBe(5);
    expect(program.info().name).toBe('stamps');
    expect(program.info().tag).toMatch(/^[0-9a-f]{16}$/);
    map.close();
    program.close();
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  });

  it('shares a pinned map with the next object', async () => {
    const path = join(at.bpffs, 'hash');
    const first = await loaded();
    first.map('hash').pin(path);
    first.map('hash').update(u32(0), u64(9));
    first.program('stamps').pin(join(at.bpffs, 'stamps'));
    first.close();
    const other = await mapOf('hash');
    expect(failure(() => other.pin(path)).code).toBe('EEXIST');

    const second = open();
    expect(failure(() => second.reuseMap('array', native().openPinnedMap(path))).code).toBe('EINVAL');
    second.reuseMap('hash', native().openPinnedMap(path));
    second.setMaxEntries('small', 7);
    await second.load();
    expect(second.program('stamps').run({ data: Buffer.alloc(60) }).verdict).toBe(9);
    expect(second.map('small').info()).toMatchObject({
      name: 'small',
      keySize: 4,
      valueSize: 8,
      maxEntries: 7,
    });
    expect(native().openPinnedProgram(join(at.bpffs, 'stamps')).info().tag).toBe(
      second.program('stamps').info().tag,
    );
    second.close();
  });

  it('refuses what is pinned as something else', async () => {
    const path = join(at.bpffs, 'array');
    (await mapOf('array')).pin(path);
    expect(failure(() => native().openPinnedProgram(path)).code).toBe('EINVAL');
    expect(failure(() => native().openPinnedLink(path)).code).toBe('EINVAL');
    expect(failure(() => native().openPinnedMap(join(at.bpffs, 'nothing'))).code).toBe('ENOENT');
  });
});

describe('a map', () => {
  it('is read and written one entry at a time', async () => {
    const map = await mapOf('hash');
    expect(map.lookup(u32(1))).toBeUndefined();
    map.update(u32(1), u64(10));
    expect(map.lookup(u32(1))).toEqual(u64(10));
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
    expect(failure(() => map.lookup(u64(1)))).toMatchObject({
      code: 'EINVAL',
      operation: 'bpf_map_lookup(hash)',
    });
    expect(failure(() => map.update(u32(1), u32(1))).code).toBe('EINVAL');
    map.close();
    map.close();
    expect(failure(() => map.lookup(u32(1))).code).toBe('EBADF');
  });

  it('is written, read and emptied in batches', async () => {
    const map = await mapOf('hash');
    const keys = u32(...range(10000));
    expect(map.updateBatch(keys, u64(...range(10000)), 10000)).toBe(10000);
    const all = map.entries();
    expect(all.count).toBe(10000);
    const pairs = range(all.count).map((i) => [all.keys.readUInt32LE(i * 4), all.values.readUInt32LE(i * 8)]);
    expect(pairs.sort(([a = 0], [b = 0]) => a - b)).toEqual(range(10000).map((i) => [i, i]));
    map.delete(u32(0));
    map.delete(u32(7777));
    map.delete(u32(9999));
    expect(map.deleteBatch(keys, 10000)).toBe(9997);
    expect(map.entries().count).toBe(0);
    expect(failure(() => map.updateBatch(keys, u64(1), 10000)).code).toBe('EINVAL');
    map.close();
  });

  it('is written through its memory, all of it or its beginning', async () => {
    const map = await mapOf('shared');
    expect(map.mapped()).toHaveLength(16_000);
    const first = map.mapped(3);
    expect(first).toHaveLength(24);
    first.writeBigUInt64LE(7n, 16);
    expect(map.lookup(u32(2))).toEqual(u64(7));
    expect(map.mapped().readBigUInt64LE(16)).toBe(7n);
    expect(failure(() => map.mapped(2_001)).code).toBe('EINVAL');
    map.close();
    expect(first.readBigUInt64LE(16)).toBe(7n);
  });

  it('says how far a failed batch came', async () => {
    const map = await mapOf('small');
    const error = failure(() => map.updateBatch(u32(...range(6)), u64(...range(6)), 6));
    expect(error).toMatchObject({ code: 'E2BIG', operation: 'bpf_map_update_batch(small)', done: 4 });
    expect(map.entries().count).toBe(4);
    map.close();
  });

  it('holds a value for each possible CPU', async () => {
    const map = await mapOf('per_cpu');
    const stride = 8 * native().possibleCpus();
    expect(map.lookup(u32(0))).toHaveLength(stride);
    map.update(u32(1), u64(...range(native().possibleCpus())));
    expect(map.lookup(u32(1))).toEqual(u64(...range(native().possibleCpus())));
    expect(map.entries()).toMatchObject({ count: 2, keys: u32(0, 1) });
    map.close();
  });

  it('knows a handle of another class', () => {
    const object = open();
    expect(failure(() => object.reuseMap('hash', object as unknown as BpfMap)).code).toBe('EINVAL');
    expect(failure(() => native().ringBuffer({} as BpfMap, () => undefined)).code).toBe('EINVAL');
    object.close();
  });
});

describe('a test run', () => {
  it('has the kernel verify the checksum afterwards, where it can', async () => {
    const outcome = async (stamp: number[]): Promise<number | string> => {
      const object = open();
      object.setVariable('stamp', Buffer.from(stamp));
      await object.load();
      const program = object.program('stamps');
      object.close();
      try {
        return program.run({ data: Buffer.alloc(60), checksumComplete: true }).verdict;
      } catch (error) {
        return (error as NativeError).code;
      }
    };
    // The program writes its stamp without telling the checksum.
    expect([
      [0, 'EBADMSG'],
      ['EINVAL', 'EINVAL'],
    ]).toContainEqual([await outcome([0, 0, 0]), await outcome([1, 0, 0])]);
  });

  it('carries mark and segments', async () => {
    const object = await loaded();
    const program = object.program('stamps');
    const marks: number[] = [];
    const ring = native().ringBuffer(object.map('ring'), (record) => marks.push(record.readUInt32LE(0)));
    program.run({ data: Buffer.alloc(1500), mark: 77, gsoSize: 500, gsoSegments: 3, repeat: 2 });
    expect(ring.consume()).toBe(2);
    expect(marks).toEqual([77, 77]);
    expect(failure(() => program.run({ data: Buffer.alloc(3) }))).toMatchObject({
      code: 'EINVAL',
      operation: 'bpf_prog_test_run(stamps)',
    });
    ring.close();
    program.close();
    expect(failure(() => program.run({ data: Buffer.alloc(60) })).code).toBe('EBADF');
    object.close();
  });
});

describe('a link', () => {
  const name = `serval-link-${process.pid}`;
  const netns = `/run/netns/${name}`;

  beforeAll(() => {
    execFileSync('ip', ['netns', 'add', name]);
  });

  afterAll(() => {
    execFileSync('ip', ['netns', 'delete', name]);
  });

  it('is pinned, found again, given another program and detached', async () => {
    const object = await loaded();
    const [first, second] = [object.program('other_maps'), object.program('stamps')];
    const path = join(at.bpffs, 'link');
    const made = await native().attachTcx(netns, 1, 'ingress', first);
    made.pin(path);
    made.close();
    made.close();
    expect(failure(() => made.info()).code).toBe('EBADF');

    const link = native().openPinnedLink(path);
    expect(link.info()).toMatchObject({ programId: first.info().id, ifindex: 1 });
    link.update(second);
    expect(link.info().programId).toBe(second.info().id);
    expect(await native().attachedPrograms(netns, 1, 'ingress')).toMatchObject([
      { kind: 'tcx', ...second.info() },
    ]);
    expect(
      failure(() => {
        link.update(link as unknown as BpfProgram);
      }).code,
    ).toBe('EINVAL');
    link.detach();
    expect(await native().attachedPrograms(netns, 1, 'ingress')).toEqual([]);
    expect(link.info().ifindex).toBe(0);
    link.close();
    object.close();
  });
});

describe('the machine', () => {
  it('tells its abilities and its bpf file systems', () => {
    expect(native().probe()).toMatchObject({ ringBuffer: true, batch: true });
    expect(native().isBpffs(at.bpffs)).toBe(true);
    expect(native().isBpffs(at.folder)).toBe(false);
    expect(failure(() => native().isBpffs('/nowhere')).code).toBe('ENOENT');
    expect(
      failure(() => {
        native().unmountBpffs(at.folder);
      }).code,
    ).toBe('EINVAL');
  });
});
