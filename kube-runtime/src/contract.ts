/**
 * What every ResourceStore must do. The directory runs it as a unit test; Kubernetes against a real API server, in
 * e2e/src/cluster. What is refused here is refused by both, by ajv the one and by the CRDs' schemas and CEL rules the other.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Kind, ServalMigration, ServalService } from '@serval/api';
import { objectName } from '@serval/api';
import { badObjects, goodObjects } from './contract-objects.fixture.js';
import type { ResourceEvent, ResourceStore } from './store.js';
import { migration, node, service, slice, until } from './testing.fixture.js';

export interface StoreHarness {
  /** one more store of the same place, which the harness closes */
  open(): Promise<ResourceStore>;
  end(): Promise<void>;
}

const stored: Kind[] = ['ServalNode', 'ServalMigration', 'ServalService', 'EndpointSlice'];

export function storeContract(name: string, start: () => Promise<StoreHarness>): void {
  describe(`${name} keeps the contract of a store`, () => {
    let harness: StoreHarness;
    let store: ResourceStore;
    let other: ResourceStore;
    let ends: Array<() => void> = [];

    beforeAll(async () => {
      harness = await start();
      store = await harness.open();
      other = await harness.open();
    }, 120_000);
    afterAll(() => harness?.end());
    beforeEach(() => void (ends = []));
    afterEach(async () => {
      for (const end of ends) end();
      for (const kind of stored) {
        for (const object of store.list(kind)) await store.delete(kind, objectName(object));
        await until(`no ${kind} is left`, () => other.list(kind).length === 0);
      }
    });

    const seenBy = <Name extends Kind>(from: ResourceStore, kind: Name): Array<ResourceEvent<Name>> => {
      const events: Array<ResourceEvent<Name>> = [];
      ends.push(from.watch(kind, (event) => events.push(event)));
      return events;
    };
    const brief = (events: ReadonlyArray<ResourceEvent<Kind>>): string[] =>
      events.map(({ type, object }) => `${type} ${objectName(object)}`);

    it('shows what was applied to the next read, by name and in the list', async () => {
      const applied = await store.apply(node('a'));
      expect(applied).toMatchObject(node('a'));
      expect(store.get('ServalNode', 'a')).toEqual(applied);
      expect(store.list('ServalNode')).toEqual([applied]);
      expect(applied.metadata.uid).toMatch(/./);
    });

    it('puts what names no namespace into default', async () => {
      const bare = service('web');
      delete bare.metadata.namespace;
      await store.apply(bare);
      expect(store.get('ServalService', 'default/web')?.metadata.namespace).toBe('default');
    });

    it('replaces all of a spec: what is left out is gone', async () => {
      await store.apply({ ...node('a'), spec: { ...node('a').spec, zone: 'z' } });
      const { uid } = store.get('ServalNode', 'a')?.metadata ?? {};
      await store.apply(node('a'));
      expect(store.get('ServalNode', 'a')?.spec).toEqual(node('a').spec);
      expect(store.get('ServalNode', 'a')?.metadata.uid).toBe(uid);
    });

    it('tells a watch what is there before it returns, then every change once, and nothing after its end', async () => {
      await store.apply(node('a'));
      const events = seenBy(store, 'ServalNode');
      expect(brief(events)).toEqual(['added a']);
      await store.apply(node('a', ['10.2.0.0/24']));
      await store.apply(node('a', ['10.2.0.0/24']));
      await store.apply(node('b'));
      await store.delete('ServalNode', 'a');
      ends.forEach((end) => end());
      await store.delete('ServalNode', 'b');
      expect(brief(events)).toEqual(['added a', 'modified a', 'added b', 'deleted a']);
      expect(events.at(-1)?.object.spec).toEqual(node('a', ['10.2.0.0/24']).spec);
    });

    it('tells another store of the same place all of it, in order', async () => {
      const events = seenBy(other, 'ServalService');
      const change = async (spec: Partial<ServalService['spec']>, step: number): Promise<void> => {
        await store.apply(service('web', spec));
        await until(`step ${step} is seen`, () => events.length === step);
      };
      await change({}, 1);
      await change({ ports: [{ port: 81 }] }, 2);
      await store.delete('ServalService', 'default/web');
      await until('the end is seen', () => events.length === 3);
      expect(brief(events)).toEqual(['added default/web', 'modified default/web', 'deleted default/web']);
      expect(events[1]?.object.spec.ports[0]?.port).toBe(81);
    });

    it('keeps its own copies: who reads one can not change it', async () => {
      await store.apply(node('a'));
      expect(() => store.get('ServalNode', 'a')?.spec.podCIDRs.push('x')).toThrow(/not extensible/);
    });

    it('merges what is said of a status, and takes away what is null', async () => {
      await store.apply(migration('m'));
      const patch = (status: Parameters<typeof store.patchStatus<'ServalMigration'>>[2]) =>
        store.patchStatus('ServalMigration', 'default/m', status);
      await patch({ phase: 'hold', lost: { foreign: 1, held: 2 }, reason: 'x' });
      await patch({ phase: 'move', lost: { foreign: null, other: 3 }, reason: null });
      const expected = { phase: 'move', lost: { held: 2, other: 3 } };
      expect(store.get('ServalMigration', 'default/m')?.status).toEqual(expected);
      await until('the other sees it', () => statusOf(other, 'm')?.phase === 'move');
      expect(statusOf(other, 'm')).toEqual(expected);
    });

    it('keeps the status when the spec is applied again, and begins the next of that name without', async () => {
      await store.apply(service('web'));
      await store.patchStatus('ServalService', 'default/web', { replicas: 3 });
      await store.apply(service('web', { ports: [{ port: 81 }] }));
      expect(store.get('ServalService', 'default/web')?.status).toEqual({ replicas: 3 });
      await store.delete('ServalService', 'default/web');
      await store.apply(service('web'));
      expect(store.get('ServalService', 'default/web')).not.toHaveProperty('status');
    });

    it('loses nothing of what two write into one status at the same time', async () => {
      await store.apply(migration('m'));
      await until('the other sees it', () => statusOf(other, 'm') !== null);
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? store : other).patchStatus('ServalMigration', 'default/m', {
            lost: { [`r${i}`]: i },
          }),
        ),
      );
      for (const each of [store, other])
        await until('all is seen', () => Object.keys(statusOf(each, 'm')?.lost ?? {}).length === 20);
    });

    it('says which of two things is missing, and that it was deleted once', async () => {
      const missing = store.patchStatus('ServalMigration', 'default/none', { phase: 'x' });
      await expect(missing).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
      await store.apply(node('a'));
      expect(await store.delete('ServalNode', 'a')).toBe(true);
      expect(store.get('ServalNode', 'a')).toBeUndefined();
      expect(await store.delete('ServalNode', 'a')).toBe(false);
    });

    it('lets no migration get another spec', async () => {
      await store.apply(migration('m'));
      const again = store.apply(migration('m', 'host-3'));
      await expect(again).rejects.toMatchObject({ code: 'ERR_CONFLICT', remedy: expect.stringMatching(/./) });
      expect(store.get('ServalMigration', 'default/m')?.spec.targetNode).toBe('host-2');
    });

    it('takes no status that does not fit, and none of an EndpointSlice', async () => {
      await store.apply(migration('m'));
      const negative = store.patchStatus('ServalMigration', 'default/m', { flows: -1 });
      await expect(negative).rejects.toMatchObject({ code: 'ERR_BAD_INPUT' });
      await store.apply(slice('web-1', 'web', ['10.1.0.1']));
      const strange = store.patchStatus('EndpointSlice', 'default/web-1', {} as never);
      await expect(strange).rejects.toMatchObject({ code: 'ERR_BAD_INPUT' });
    });

    it('gives EndpointSlices as they are used here', async () => {
      const given = slice('web-1', 'web', ['10.1.0.1', '10.1.0.2']);
      await store.apply(given);
      await until('the other sees it', () => other.get('EndpointSlice', 'default/web-1') !== undefined);
      const { endpoints, ports, addressType, kind } = other.get('EndpointSlice', 'default/web-1') ?? given;
      expect({ endpoints, addressType, kind }).toMatchObject({
        endpoints: given.endpoints,
        addressType: 'IPv4',
        kind: 'EndpointSlice',
      });
      expect(ports?.[0]?.port).toBe(8080);
    });

    it.each(goodObjects)('takes %s', async (_, object) => {
      await store.apply(object);
      expect(store.get(object.kind, objectName(object))).toMatchObject({ spec: object.spec });
    });

    it.each(badObjects)('refuses %s, and says why', async (_, object, reason) => {
      const refused = store.apply(object);
      await expect(refused).rejects.toMatchObject({ code: 'ERR_BAD_INPUT' });
      await expect(refused).rejects.toThrow(reason);
      expect(store.list(object.kind)).toEqual([]);
    });
  });
}

function statusOf(store: ResourceStore, name: string): ServalMigration['status'] | null {
  const object = store.get('ServalMigration', `default/${name}`);
  return object === undefined ? null : object.status;
}
