/** Ring buffers of the native addon on the real kernel. Needs root. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  addonPath,
  failure,
  makeFixture,
  openDescriptors,
  range,
  u64,
  type Fixture,
} from './native.fixture.js';
import { native, type BpfObject } from './native.js';

const source = `
MAP(BPF_MAP_TYPE_ARRAY, array, 8, 0, __u32, __u64);
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } narrow SEC(".maps");

SEC("tc") int record(struct __sk_buff *skb)
{
  __u64 *record = bpf_ringbuf_reserve(&ring, 8, 0);
  if (!record)
    return 1;
  *record = skb->mark;
  bpf_ringbuf_submit(record, 0);
  return 0;
}

/* 80 bytes with its head, which do not go into 4096 without rest. Each third is taken back. */
SEC("tc") int long_record(struct __sk_buff *skb)
{
  __u64 *record = bpf_ringbuf_reserve(&narrow, 72, 0);
  if (!record)
    return 1;
  for (int i = 0; i < 9; i++)
    record[i] = skb->mark * 9ULL + i;
  if (skb->mark % 3 == 2)
    bpf_ringbuf_discard(record, 0);
  else
    bpf_ringbuf_submit(record, 0);
  return 0;
}
`;

let at: Fixture;

beforeAll(() => {
  at = makeFixture(source);
});

afterAll(() => {
  at.dispose();
});

async function loaded(): Promise<BpfObject> {
  const object = native().openObject(at.objectPath);
  await object.load();
  return object;
}

describe('a ring buffer', () => {
  it('wakes the event loop and delivers every record in order', async () => {
    const object = await loaded();
    const program = object.program('record');
    const marks: number[] = [];
    const ring = native().ringBuffer(object.map('ring'), (record) => marks.push(record.readUInt32LE(0)));
    for (const mark of range(1000)) program.run({ data: Buffer.alloc(60), mark });
    for (let i = 0; marks.length < 1000 && i < 100; i++) await sleep(10);
    expect(marks).toEqual(range(1000));
    ring.close();
    ring.close();
    expect(failure(() => ring.consume()).code).toBe('EBADF');
    object.close();
  });

  it('gives records whole that begin at its end and go on at its beginning, and none that was taken back', async () => {
    const object = await loaded();
    const program = object.program('long_record');
    const records: Buffer[] = [];
    const ring = native().ringBuffer(object.map('narrow'), (record) => records.push(record));
    const marks = range(1000);
    for (const mark of marks) {
      expect(program.run({ data: Buffer.alloc(60), mark }).verdict).toBe(0);
      if (mark % 40 === 39) ring.consume();
    }
    const expected = marks.filter((mark) => mark % 3 !== 2);
    expect(records).toEqual(expected.map((mark) => u64(...range(9).map((i) => mark * 9 + i))));
    ring.close();
    object.close();
  });

  it('is told from other maps', async () => {
    const object = await loaded();
    expect(failure(() => native().ringBuffer(object.map('array'), () => undefined)).code).toBe('EINVAL');
    object.close();
  });

  it('bears a callback that throws, reads again or closes it', async () => {
    const object = await loaded();
    const program = object.program('record');
    const marks: number[] = [];
    const ring = native().ringBuffer(object.map('ring'), (record) => {
      const mark = record.readUInt32LE(0);
      marks.push(mark);
      expect(ring.consume()).toBe(0);
      if (mark === 1) throw new Error('one');
      if (mark === 4) ring.close();
    });
    for (const mark of range(4)) program.run({ data: Buffer.alloc(60), mark });
    expect(() => ring.consume()).toThrow('one');
    expect(marks).toEqual([0, 1, 2, 3]);
    for (const mark of [4, 5]) program.run({ data: Buffer.alloc(60), mark });
    ring.consume();
    expect(marks).toEqual([0, 1, 2, 3, 4]);
    object.close();
  });

  it('never keeps a process or a worker alive, and goes with it', async () => {
    const script = `
      const native = require(${JSON.stringify(addonPath)});
      const object = native.openObject(${JSON.stringify(at.objectPath)});
      const ready = object.load().then(() => native.ringBuffer(object.map('ring'), () => {}));`;
    execFileSync(process.execPath, ['-e', script], { timeout: 10_000 });
    const before = openDescriptors();
    const [ended] = (await once(new Worker(script, { eval: true }), 'exit')) as [number];
    expect(ended).toBe(0);
    const stuck = new Worker(
      `${script}; setInterval(() => {}, 1000); ready.then(() => require('worker_threads').parentPort.postMessage(1))`,
      {
        eval: true,
      },
    );
    await once(stuck, 'message');
    await stuck.terminate();
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  });
});
