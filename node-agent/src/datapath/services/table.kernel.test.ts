/** What the service table leaves in the kernel, and when it uses again what was somebody's. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native } from '../../native.js';
import { salOwnKey, salReplica, salService } from '../abi.generated.js';
import { endpointBytes } from './encode.js';
import { defaultObjectPath } from '../ebpf.js';
import { closeMaps, openMaps, type SharedMaps } from '../pins.js';
import { ServiceTable } from './table.js';
import type { ServiceRule } from './types.js';

function rule(service: number, changes: Partial<ServiceRule> = {}): ServiceRule {
  const replicas = [1, 2, 3].map((i) => ({ address: `10.99.${service}.${i}`, port: 8080 }));
  return {
    address: `10.200.0.${service}`,
    port: 80,
    protocol: 'tcp',
    rule: 'FORWARD',
    balance: 'RANDOM',
    replicas,
    choices: Uint32Array.of(0, 1, 2),
    synTimeoutMs: 100,
    own: new Map(),
    ...changes,
  };
}

describe('the service table', () => {
  let bpffs: string;
  let maps: SharedMaps['maps'];
  let table: ServiceTable;

  beforeEach(async () => {
    bpffs = mkdtempSync(join(tmpdir(), 'serval-bpffs-'));
    native().mountBpffs(bpffs);
    await open();
  });

  afterEach(() => {
    jest.restoreAllMocks();
    closeMaps(maps);
    native().unmountBpffs(bpffs);
    rmSync(bpffs, { recursive: true });
  });

  const open = async (): Promise<void> => {
    const room = { slots: 16, services: 64, choices: 256, replicas: 128 };
    ({ maps } = await openMaps({ pinRoot: bpffs, objectPath: defaultObjectPath, ...room }));
    table = new ServiceTable(maps);
  };

  const reopen = async (): Promise<void> => {
    closeMaps(maps);
    await open();
  };

  const value = (of: ServiceRule) => {
    const { count, keys, values } = maps.sal_services.entries();
    const key = endpointBytes(of, of.protocol);
    for (let i = 0; i < count; i++)
      if (keys.subarray(i * key.length, (i + 1) * key.length).equals(key))
        return salService.read(values, i * salService.size);
    throw new Error(`nothing at ${of.address}`);
  };

  /** What a reader finds that has found the service already. */
  const contents = ({ choices, size, replicas, count }: ReturnType<typeof value>): string =>
    [
      maps.sal_choices.mapped().subarray(choices * 4, (choices + size) * 4),
      maps.sal_replicas.mapped().subarray(replicas * salReplica.size, (replicas + count) * salReplica.size),
    ]
      .map((part) => part.toString('hex'))
      .join(' ');

  const own = (): string[] => {
    const { count, keys, values } = maps.sal_own_replicas.entries();
    return Array.from({ length: count }, (_, i) => {
      const { netns, service } = salOwnKey.read(keys, i * salOwnKey.size);
      return `${netns} ${service} ${values.readUInt32LE(i * 4)}`;
    }).sort();
  };

  /** Grace periods that end when the test says so. */
  const graceBy = (): (() => Promise<void>) => {
    let waiting: Array<() => void> = [];
    jest.spyOn(native(), 'gracePeriod').mockImplementation(() => new Promise((done) => waiting.push(done)));
    return async () => {
      for (const done of waiting) done();
      waiting = [];
      await new Promise((resolve) => setImmediate(resolve));
    };
  };

  it('writes nothing where a reader may still be before its grace period has ended, then it does', async () => {
    const grace = graceBy();
    await table.change([rule(1), rule(2)]);
    const before = [rule(1), rule(2)].map(value);
    const written = before.map(contents);
    await table.change([
      rule(1, { replicas: [{ address: '10.99.9.9', port: 1 }], choices: Uint32Array.of(0, 0, 0) }),
    ]);
    await table.change([], [rule(2)]);
    for (let i = 3; i < 20; i++) await table.change([rule(i)]);
    expect(before.map(contents)).toEqual(written);
    expect(new Set(Array.from({ length: 17 }, (_, i) => value(rule(i + 3)).id))).not.toContain(before[1]?.id);
    const used = table.usage();
    await grace();
    expect(table.usage().replicas).toBeLessThan(used.replicas);
    for (let i = 20; i < 23; i++) await table.change([rule(i)]);
    const now = before.map(contents);
    for (const [i, text] of written.entries()) expect(now[i]).not.toBe(text);
    expect([20, 21, 22].map((i) => value(rule(i)).id)).toContain(before[1]?.id);
  });

  it('gives no number to two services, whatever happens within one grace period', async () => {
    const grace = graceBy();
    await table.change([rule(1)]);
    await table.change([rule(1, { choices: Uint32Array.of(2) })]);
    await table.change([rule(1, { choices: Uint32Array.of(1) })]);
    await table.change([], [rule(1)]);
    await grace();
    const others = Array.from({ length: 6 }, (_, i) => rule(i + 2));
    await table.change(others);
    expect(new Set(others.map((each) => value(each).id)).size).toBe(6);
    const { replicas, choices } = table.usage();
    expect([replicas, choices]).toEqual([24, 24]);
  });

  it('puts what is among both, what is taken away and what is put', async () => {
    await table.change([rule(1)]);
    await table.change([rule(1, { choices: Uint32Array.of(2) })], [rule(1)]);
    expect(value(rule(1)).size).toBe(1);
    expect(table.known()).toHaveLength(1);
  });

  it('takes the last of several for one place, and gives nothing back twice', async () => {
    const grace = graceBy();
    await table.change([rule(1), rule(2), rule(1, { choices: Uint32Array.of(2) })]);
    expect(value(rule(1)).size).toBe(1);
    await table.change([rule(1, { choices: Uint32Array.of(1, 1) }), rule(1)], [rule(2), rule(2)]);
    await grace();
    expect(table.usage()).toEqual({ services: 1, choices: 4, replicas: 4 });
  });

  it('puts all others when there is no room for one, and that one when room has come back', async () => {
    const large = (service: number): ServiceRule => rule(service, { choices: new Uint32Array(200) });
    await table.change([rule(1), large(2)]);
    await expect(table.change([rule(3), large(4), rule(5), large(6)], [rule(1)])).rejects.toMatchObject({
      code: 'ERR_TABLE_FULL',
      message: expect.stringMatching(/10\.200\.0\.4 .* nor for 1 others/),
    });
    const known = () =>
      table
        .known()
        .map(({ address }) => address.replace(/.*\./, ''))
        .sort();
    expect(known()).toEqual(['2', '3', '5']);
    // What goes makes room for what comes in the same change.
    await table.change([large(4)], [rule(2)]);
    expect(known()).toEqual(['3', '4', '5']);
    // It has no room for both at a time: it stays as it was.
    const before = contents(value(rule(4)));
    await expect(table.change([large(4)])).rejects.toMatchObject({ code: 'ERR_TABLE_FULL' });
    expect(contents(value(rule(4)))).toBe(before);
    expect(table.usage()).toMatchObject({ services: 3, replicas: 12 });
  });

  it('has none of the clients that were replicas themselves any more, also of an earlier process', async () => {
    await table.change([rule(1, { own: new Map([[7n, 1], [8n, 2]]) }), rule(2, { own: new Map([[7n, 0]]) })]); // prettier-ignore
    const [one, two] = [value(rule(1)).id, value(rule(2)).id];
    expect(own()).toEqual([`7 ${one} 1`, `7 ${two} 0`, `8 ${one} 2`].sort());
    await reopen();
    await table.change([rule(1, { own: new Map([[8n, 0]]) })]);
    expect(own()).toEqual([`7 ${two} 0`, `8 ${one} 0`].sort());
    await table.change([rule(1)], [rule(2)]);
    expect(own()).toEqual([]);
    // What an agent left that was killed between two steps.
    await table.change([rule(3, { own: new Map([[9n, 1]]) })]);
    maps.sal_services.delete(endpointBytes(rule(3), 'tcp'));
    await reopen();
    expect(own()).toEqual([]);
  });

  it('keeps what was seen of a replica, also for a later process', async () => {
    await table.change([rule(1)]);
    const { replicas } = value(rule(1));
    maps.sal_replicas
      .mapped()
      .writeUInt32LE(5, (replicas + 1) * salReplica.size + salReplica.offset.connections);
    const seen = { address: '10.99.1.2', port: 8080, protocol: 'tcp', connections: 5, failures: 0, rttUs: 0 };
    expect(table.seen(rule(1))).toEqual([seen]);
    await reopen();
    expect(table.seen(rule(1))).toEqual([seen]);
    await table.change([rule(1, { replicas: rule(1).replicas.slice(1), choices: Uint32Array.of(0, 1) })]);
    expect(table.seen(rule(1))).toEqual([seen]);
    expect(table.count(rule(1)).resolved).toBe(5);
  });
});
