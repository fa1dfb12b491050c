import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryStore } from '@serval/kube-runtime';
import { rewriteService, serviceOf, slicesOf, writeServices, type ServicesShape } from './directory.js';

async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'serval-services-'));
  try {
    await work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function withStore(directory: string, work: (store: DirectoryStore) => void): Promise<void> {
  const problems: unknown[] = [];
  const store = await DirectoryStore.open({ directory, onProblem: (problem) => problems.push(problem) });
  try {
    work(store);
    expect(problems).toEqual([]);
  } finally {
    await store.close();
  }
}

const small = { services: 7, endpoints: 5, perSlice: 2 } as const;

describe('directories of services', () => {
  it.each<[ServicesShape, number]>([
    [{ ...small, format: 'json' }, 28],
    [{ ...small, format: 'yaml' }, 28],
    [{ ...small, format: 'json', perFile: 1 }, 7],
    [{ ...small, format: 'yaml', perFile: 3 }, 3],
  ])('%j: are read as they were meant', (shape, files) =>
    withDirectory(async (directory) => {
      expect(writeServices(directory, shape).files).toBe(files);
      const all = Array.from({ length: 7 }, (_, service) => service);
      await withStore(directory, (store) => {
        expect(store.list('ServalService')).toEqual(all.map((service) => serviceOf(shape, service)));
        const slices = all.flatMap((service) => slicesOf(shape, service));
        expect(store.list('EndpointSlice')).toEqual(slices);
        const addresses = slices.flatMap(({ endpoints }) =>
          endpoints.flatMap((endpoint) => endpoint.addresses),
        );
        expect(new Set(addresses).size).toBe(35);
      });
      rewriteService(directory, shape, 4, (slice) => ({ ...slice, endpoints: [] }));
      expect(readdirSync(directory).filter((file) => file !== 'status')).toHaveLength(files);
      await withStore(directory, (store) => {
        const owners = store.list('EndpointSlice').filter(({ endpoints }) => endpoints.length === 0);
        expect(new Set(owners.map(({ metadata }) => metadata.name))).toEqual(
          new Set(['service-00004-0', 'service-00004-1', 'service-00004-2']),
        );
      });
    }),
  );

  it('have the addresses that are asked for', () =>
    withDirectory((directory) => {
      const shape: ServicesShape = {
        services: 1,
        endpoints: 2,
        format: 'json',
        perFile: 1,
        virtualIPOf: () => '10.9.0.1',
        addressOf: (service, endpoint) => `10.8.${service}.${endpoint + 1}`,
      };
      writeServices(directory, shape);
      const text = readFileSync(join(directory, 'services-0.yaml'), 'utf8');
      for (const address of ['10.9.0.1', '10.8.0.1', '10.8.0.2']) expect(text).toContain(`["${address}"]`);
      return Promise.resolve();
    }));
});
