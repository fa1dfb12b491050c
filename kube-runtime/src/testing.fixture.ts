/** For the tests: a directory of their own, objects to fill it with, and waiting for what has to come. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  apiVersion,
  discoveryVersion,
  serviceNameLabel,
  type EndpointSlice,
  type ServalMigration,
  type ServalNode,
  type ServalPod,
  type ServalService,
} from '@serval/api';

export async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'serval-store-'));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(5);
  }
}

export function node(name: string, podCIDRs = ['10.1.0.0/24'], hostAddresses = ['192.0.2.1']): ServalNode {
  const spec = { address: '192.0.2.1:7946', hostAddresses, podCIDRs };
  return { apiVersion, kind: 'ServalNode', metadata: { name }, spec };
}

export function pod(name: string, addresses = ['10.1.0.5']): ServalPod {
  const spec = { node: 'host-1', netns: '/run/netns/x', interfaces: ['eth0'], addresses };
  return { apiVersion, kind: 'ServalPod', metadata: { name, namespace: 'default' }, spec };
}

export function migration(name: string, targetNode = 'host-2'): ServalMigration {
  const spec = { workload: { name: 'redis-0' }, targetNode };
  return { apiVersion, kind: 'ServalMigration', metadata: { name, namespace: 'default' }, spec };
}

export function service(name: string, spec: Partial<ServalService['spec']> = {}): ServalService {
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { name, namespace: 'default' },
    spec: { virtualIPs: ['10.96.0.1'], ports: [{ port: 80 }], ...spec },
  };
}

/** Of a service, with one endpoint for each address. */
export function slice(name: string, owner: string, addresses: string[]): EndpointSlice {
  return {
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { [serviceNameLabel]: owner } },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    ports: [{ port: 8080 }],
  };
}

export function nodeText(name: string, address = '192.0.2.1:7946'): string {
  return `apiVersion: ${apiVersion}
kind: ServalNode
metadata: {name: ${name}}
spec: {address: "${address}", hostAddresses: [192.0.2.1], podCIDRs: [10.1.0.0/24]}
`;
}

export function podText(name: string): string {
  return `apiVersion: ${apiVersion}
kind: ServalPod
metadata: {name: ${name}}
spec: {node: host-1, netns: /run/netns/x, addresses: [10.1.0.5]}
`;
}
