/** Pods, migrations and services of a KubeFleet, as a test makes them and waits for what becomes of them. */
import {
  apiVersion,
  type ServalMigration,
  type ServalMigrationStatus,
  type ServalService,
  type ServalServiceSpec,
  type ServiceView,
} from '@serval/api';
import { createMigration, deleteMigration, readMigration, within } from '../cluster/index.js';
import type { Pod } from '../lab/index.js';
import type { KubeFleet } from './kube-fleet.js';
import { ask } from './local-api.js';

const pods = '/api/v1/namespaces/default/pods';
const services = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';

export interface PodToRun {
  /** default: it sleeps */
  command?: string[];
  labels?: Record<string, string>;
}

export class KubeScene {
  constructor(private readonly fleet: KubeFleet) {}

  /** Resolves when its kubelet runs it. */
  async makePod(
    name: string,
    host: string,
    { command = ['/bin/sleep', 'infinity'], labels = {} }: PodToRun = {},
  ): Promise<Pod> {
    await this.fleet.admin.request({
      method: 'POST',
      path: pods,
      body: {
        metadata: { name, labels },
        spec: {
          nodeName: host,
          automountServiceAccountToken: false,
          containers: [{ name: 'main', image: 'none', command }],
        },
      },
    });
    return this.fleet.kubelet.pod(`default/${name}`);
  }

  /** Resolves when the agent of its node knows it, too. */
  async runPod(name: string, host: string, more: PodToRun = {}): Promise<Pod> {
    const pod = await this.makePod(name, host, more);
    await within(20_000, `the agent of ${host} knows ${name}`, async () =>
      (await this.fleet.agent(host).pods()).find(
        (each) => each.name === `default/${name}` && each.mover === 'criu',
      ),
    );
    return pod;
  }

  async podNames(): Promise<string[]> {
    const { items } = await this.fleet.admin.request<{ items: Array<{ metadata: { name: string } }> }>({
      path: pods,
    });
    return items.map(({ metadata }) => metadata.name);
  }

  removePod(name: string): Promise<unknown> {
    return this.fleet.admin.request({
      method: 'DELETE',
      path: `${pods}/${name}`,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 1 },
    });
  }

  migrate(name: string, workload: string, targetNode: string): Promise<unknown> {
    return createMigration(this.fleet.admin, name, workload, { targetNode });
  }

  migration(name: string): Promise<ServalMigration> {
    return readMigration(this.fleet.admin, name);
  }

  deleteMigration(name: string): Promise<unknown> {
    return deleteMigration(this.fleet.admin, name);
  }

  /** Resolves with what its status is when it says so. */
  until(
    name: string,
    what: string,
    holds: (status: ServalMigrationStatus) => boolean,
    ms = 60_000,
  ): Promise<ServalMigrationStatus> {
    return within(ms, `${name} ${what}`, async () => {
      const { status = {} } = await this.migration(name);
      if (holds(status)) return status;
      throw new Error(JSON.stringify(status));
    });
  }

  ended(name: string, ms?: number): Promise<ServalMigrationStatus> {
    return this.until(name, 'has ended', ({ finishedAt }) => finishedAt !== undefined, ms);
  }

  addService(name: string, spec: ServalServiceSpec): Promise<unknown> {
    return this.fleet.admin.request({
      method: 'POST',
      path: services,
      body: { apiVersion, kind: 'ServalService', metadata: { name }, spec },
    });
  }

  changeService(name: string, spec: Partial<ServalServiceSpec>): Promise<unknown> {
    return this.fleet.admin.request({
      method: 'PATCH',
      path: `${services}/${name}`,
      contentType: 'application/merge-patch+json',
      body: { spec },
    });
  }

  service(name: string): Promise<ServalService> {
    return this.fleet.admin.request<ServalService>({ path: `${services}/${name}` });
  }

  /** Resolves with it when it has one. */
  virtualIP(name: string): Promise<string> {
    return within(
      20_000,
      `${name} has an address`,
      async () => (await this.service(name)).status?.virtualIPs?.[0],
    );
  }

  /** Resolves when the agent of this host leads to these IPv4 addresses and to no others. */
  async leadsTo(host: string, service: string, addresses: readonly string[], ms = 10_000): Promise<void> {
    await within(ms, `the agent of ${host} leads to ${addresses.join(' and ')}`, async () => {
      const path = `/v1/services?name=default/${service}`;
      const views = await ask<ServiceView[]>(this.fleet.agent(host).socket, 'GET', path);
      const four = views.flatMap(({ ports }) => ports.filter(({ family }) => family === 4));
      const found = four.flatMap(({ replicas }) => replicas.map(({ address }) => address));
      if (found.sort().join() === [...addresses].sort().join()) return true;
      throw new Error(JSON.stringify(views));
    });
  }
}
