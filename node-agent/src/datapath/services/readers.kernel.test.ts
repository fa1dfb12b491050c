/** Whoever connects while the table is changed, as fast as it can be, meets a replica of the service that it asked for. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { native } from '../../native.js';
import { EbpfDatapath } from '../ebpf.js';
import type { EbpfServices, ServiceRule } from './index.js';
import { Reader, type Readings } from './reader.fixture.js';
import { ServiceFixture } from './services.fixture.js';
import { balanceModes } from './types.js';

/** Replicas of service i are 10.99.i.x, reached from 10.98.1.i. */
const asked = [1, 2, 3, 4, 5, 6, 7, 8];
/** Nobody asks for these: they come and go, and take what others have left. */
const strangers = [20, 21, 22, 23, 24, 25, 26, 27];

const virtualIP = (service: number): string => `10.200.0.${service}`;

const draw = (below: number): number => Math.floor(Math.random() * below);

/** Of a service, from number `from` on: other addresses each time. */
function rule(service: number, from: number, count: number, changes: Partial<ServiceRule> = {}): ServiceRule {
  return {
    address: virtualIP(service),
    port: 80,
    protocol: 'udp',
    rule: 'FORWARD',
    balance: balanceModes[draw(balanceModes.length)] as ServiceRule['balance'],
    replicas: Array.from({ length: count }, (_, i) => ({
      address: `10.99.${service}.${from + i}`,
      port: 8080,
    })),
    // Each number comes: one that is beyond the replicas of what is read would be found.
    choices: Uint32Array.from({ length: count + draw(40) }, (_, i) => i % count),
    synTimeoutMs: 100,
    own: new Map(),
    ...changes,
  };
}

/** One of two sets that have nothing in common, and of another size each time. */
function swapped(service: number, changes: Partial<ServiceRule> = {}): ServiceRule {
  return rule(service, draw(2) === 0 ? 1 : 101, 1 + draw(60), changes);
}

describe('readers of the service table', () => {
  let fixture: ServiceFixture;
  let datapath: EbpfDatapath;
  let services: EbpfServices;
  let cookie: bigint;
  let reader: Reader | undefined;

  beforeAll(async () => {
    fixture = new ServiceFixture('readers');
    cookie = await fixture.cookie(fixture.near);
  });

  afterAll(() => fixture?.dispose());

  const open = async (room: { choices: number; replicas: number; services?: number }): Promise<void> => {
    datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots: 1024, ...room });
    services = await datapath.openServices();
    services.setClients([{ cookie, number: 7 }]);
  };

  afterEach(async () => {
    reader?.kill();
    services.close();
    await datapath.uninstall();
  });

  const read = async (
    seconds: number,
    change: () => Promise<void>,
  ): Promise<Readings & { changes: number }> => {
    const started = await Reader.start(
      fixture.near,
      '10.98.0.2',
      asked.map((i) => ({ virtualIP: virtualIP(i), replicas: `10.99.${i}.0/24`, source: `10.98.1.${i}` })),
      { replicas: '10.99.0.0/16', source: '10.98.1.99' },
    );
    reader = started;
    let changes = 0;
    for (const end = performance.now() + seconds * 1000; performance.now() < end; changes++) {
      await change();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { ...(await started.finish()), changes };
  };

  it('meet a replica of the service that they ask for, whatever becomes of it and of others', async () => {
    // Hardly more than what is in use: whatever comes back is used again at once.
    await open({ choices: 2048, replicas: 1024 });
    await services.table.change(asked.map((service) => swapped(service)));
    const present = new Set<number>();
    const result = await read(Number(process.env.SECS ?? 5), async () => {
      const rules = asked.filter(() => draw(2) === 0).map((service) => swapped(service));
      const gone = strangers.filter((service) => present.has(service) && draw(2) === 0);
      const come = strangers.filter((service) => !gone.includes(service) && draw(2) === 0);
      for (const service of gone) present.delete(service);
      for (const service of come) present.add(service);
      await services.table.change(
        [...rules, ...come.map((service) => swapped(service))],
        gone.map((service) => ({ address: virtualIP(service), port: 80, protocol: 'udp' })),
      );
    });
    expect(result.wrong).toEqual({});
    expect(result.reads).toBeGreaterThan(100_000);
    expect(result.changes).toBeGreaterThan(200);
  }, 60_000);

  it.each([
    ['elements of the table are used again by others', 1 << 16],
    // Elements are put before others of their bucket.
    ['others are put beside it in the table', 16],
  ])(
    'meet one whole service while %s',
    async (_, places) => {
      await open({ choices: 2048, replicas: 1024, services: places });
      const map = native().openPinnedMap(join(fixture.bpffs, 'serval/maps/sal_services'));
      // What the agent would write for one set and for the other; what they refer to stays where it is.
      const written: Array<ReturnType<typeof map.entries>> = [];
      for (const from of [1, 101]) {
        await services.table.change([...asked, ...strangers].map((service) => rule(service, from, 3)));
        written.push(map.entries());
      }
      const result = await read(4, () => {
        for (let i = 0; i < 500; i++)
          for (const { count, keys, values } of written) map.updateBatch(keys, values, count);
        return Promise.resolve();
      });
      map.close();
      expect(result.wrong).toEqual({});
      expect(result.reads).toBeGreaterThan(100_000);
      expect(result.changes).toBeGreaterThan(20);
    },
    60_000,
  );
});
