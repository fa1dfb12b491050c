import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EndpointSlice, ServalService } from '@serval/api';
import { writeService, writeServices } from './directory.js';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'bench-directory-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function read(file: string): [ServalService, EndpointSlice] {
  const documents = readFileSync(join(folder, file), 'utf8').split('\n---\n');
  return documents.map((text) => JSON.parse(text) as object) as [ServalService, EndpointSlice];
}

describe('services as resources', () => {
  it('are a file each, with their replicas', () => {
    writeServices(folder, { services: 3 });
    expect(readdirSync(folder).sort()).toEqual(['service-0.yaml', 'service-1.yaml', 'service-2.yaml']);
    const [service, slice] = read('service-2.yaml');
    expect(service).toMatchObject({ kind: 'ServalService', spec: { virtualIPs: ['10.96.4.2'] } });
    expect(slice.metadata.labels).toEqual({ 'kubernetes.io/service-name': service.metadata.name });
    expect(slice.endpoints.map(({ addresses }) => addresses[0])).toContain('10.128.0.29');
    expect(slice.endpoints).toHaveLength(10);
  });

  it('change in one endpoint', () => {
    writeServices(folder, { services: 1 });
    const [service, before] = read('service-0.yaml');
    writeService(folder, { services: 1, replaced: '10.131.255.1' }, 0);
    const [same, after] = read('service-0.yaml');
    expect(same).toEqual(service);
    expect(after.endpoints[0]?.addresses).toEqual(['10.131.255.1']);
    expect(after.endpoints.slice(1)).toEqual(before.endpoints.slice(1));
  });
});
