/** Agents in Kubernetes mode on a real API server: they find their pods, tell of their nodes, and move workloads as they are told. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import {
  apiVersion,
  type ServalMigration,
  type ServalMigrationStatus,
  type ServalNode,
  type ServalService,
  type ServiceView,
} from '@serval/api';
import { ask, KubeFleet } from '../fleet/index.js';
import { createLab, type Lab } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { Traffic } from '../traffic/index.js';

beforeAll(() => requireRoot());
jest.setTimeout(200_000);

const [source, target, far] = ['s1-h1', 's2-h1', 's3-h1'];
const port = 7000;

describe('agents in Kubernetes mode', () => {
  let lab: Lab;
  let fleet: KubeFleet;
  let traffic: Traffic;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await KubeFleet.start(lab, { controlPlane: { progress: console.log } });
    traffic = new Traffic(lab, fleet.imagesDir);
  }, 120_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 60_000);

  async function within<Value>(
    ms: number,
    what: string,
    look: () => Promise<Value | undefined>,
  ): Promise<Value> {
    let last: unknown;
    for (const until = performance.now() + ms; performance.now() < until; await delay(20)) {
      const found = await look().catch((error: unknown) => void (last = error));
      if (found !== undefined) return found;
    }
    throw new Error(`not within ${ms} ms: ${what} (${String(last)})`);
  }

  const collection = '/apis/serval.io/v1alpha1/namespaces/default/servalmigrations';

  /** Resolves when the agent of its node knows it. */
  async function runPod(
    name: string,
    host: string,
    more: { command?: string[]; annotations?: object; labels?: object } = {},
  ) {
    const { command = ['/bin/sleep', 'infinity'], annotations = {}, labels = {} } = more;
    await fleet.admin.request({
      method: 'POST',
      path: '/api/v1/namespaces/default/pods',
      body: {
        metadata: { name, annotations, labels },
        spec: {
          nodeName: host,
          automountServiceAccountToken: false,
          containers: [{ name: 'main', image: 'none', command }],
        },
      },
    });
    const pod = await fleet.kubelet.pod(`default/${name}`);
    await within(20_000, `the agent of ${host} knows ${name}`, async () => {
      const pods = await fleet.agent(host).pods();
      const found = pods.find((each) => each.name === `default/${name}`);
      const isWhole = found !== undefined && (annotations === more.annotations || found.mover === 'criu');
      return isWhole ? found : undefined;
    });
    return pod;
  }

  const migration = (name: string): Promise<ServalMigration> =>
    fleet.admin.request<ServalMigration>({ path: `${collection}/${name}` });

  it('say what their nodes are', async () => {
    const items = await within(10_000, 'every node says that it is ready', async () => {
      const { items: found } = await fleet.admin.request<{ items: ServalNode[] }>({
        path: '/apis/serval.io/v1alpha1/servalnodes',
      });
      const isReady = ({ status }: ServalNode): boolean => status?.conditions?.[0]?.status === 'True';
      const canMove = ({ status }: ServalNode): boolean =>
        status?.capabilities?.some(({ name, available }) => name === 'criu' && available) ?? false;
      return found.length === 3 && found.every((node) => isReady(node) && canMove(node)) ? found : undefined;
    });
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual([source, target, far]);
    for (const { metadata, spec } of items) {
      const host = lab.host(metadata.name);
      expect(spec).toEqual({
        address: `${host.address4}:7443`,
        hostAddresses: [host.address4, host.address6],
        podCIDRs: [host.podSubnet4, host.podSubnet6],
        zone: host.site,
      });
    }
  });

  it('make again what somebody has deleted of theirs', async () => {
    const path = `/apis/serval.io/v1alpha1/servalnodes/${far}`;
    const before = await fleet.admin.request<ServalNode>({ path });
    await fleet.admin.request({ method: 'DELETE', path });
    const after = await within(10_000, 'it is there again', async () => {
      const node = await fleet.admin.request<ServalNode>({ path });
      return node.status?.conditions === undefined ? undefined : node;
    });
    expect(after.spec).toEqual(before.spec);
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
  });

  const pods = '/api/v1/namespaces/default/pods';

  const podNames = async (): Promise<string[]> => {
    const { items } = await fleet.admin.request<{ items: Array<{ metadata: { name: string } }> }>({
      path: pods,
    });
    return items.map(({ metadata }) => metadata.name);
  };

  const remove = (pod: string): Promise<unknown> =>
    fleet.admin.request({
      method: 'DELETE',
      path: `${pods}/${pod}`,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 1 },
    });

  const begin = (name: string, workload: string, to: string): Promise<unknown> =>
    fleet.admin.request({
      method: 'POST',
      path: collection,
      body: {
        apiVersion,
        kind: 'ServalMigration',
        metadata: { name },
        spec: { workload: { name: workload }, targetNode: to },
      },
    });

  /** Resolves with what its status is when it says so. */
  const until = (
    name: string,
    what: string,
    holds: (status: ServalMigrationStatus) => boolean,
    ms = 60_000,
  ): Promise<ServalMigrationStatus> =>
    within(ms, `${name} ${what}`, async () => {
      const { status = {} } = await migration(name);
      if (holds(status)) return status;
      throw new Error(JSON.stringify(status));
    });

  const ended = (name: string, ms?: number): Promise<ServalMigrationStatus> =>
    until(name, 'has ended', ({ finishedAt }) => finishedAt !== undefined, ms);

  it('move a workload from pod to pod with its connections, also after they were killed', async () => {
    const server = await runPod('server', source, { command: traffic.serverCommand(port) });
    const nearPod = await runPod('near', source);
    const client = await traffic.client(await runPod('far', far), server.address4, port, { connections: 4 });
    const near = await traffic.client(nearPod, server.address4, port, { connections: 2 });
    const goOn = (): Promise<unknown> => Promise.all([client.goesOn(), near.goesOn()]);

    await begin('first', 'server', target);
    const first = await ended('first');
    await goOn();
    expect(first).toMatchObject({
      phase: 'Succeeded',
      sourceStep: 'retired',
      targetStep: 'done',
      flows: 6,
      lost: {},
    });
    expect(first.freezeMs).toBeGreaterThan(0);
    const { targetPod: second = '' } = first;
    expect(await podNames()).toEqual(expect.arrayContaining([second]));
    expect(await podNames()).not.toContain('server');

    // What has come there is more than the pod's object says.
    await fleet.agent(target).kill();
    await fleet.agent(target).start();
    await goOn();
    const known = await fleet.agent(target).pods();
    expect(known.find(({ name }) => name === `default/${second}`)).toMatchObject({ epoch: 1, mover: 'criu' });
    await begin('second', second, far);
    const { phase, targetPod: third = '' } = await ended('second');
    expect(phase).toBe('Succeeded');
    await goOn();
    for (const each of [client, near]) expect((await each.stop()).errors).toEqual([]);
    await remove(third);
  });

  it('take a move back when its object is deleted, and the workload goes on', async () => {
    const server = await runPod('stays', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await runPod('asks', far), server.address4, port, { connections: 3 });
    await fleet.agent(target).kill();
    await begin('unwanted', 'stays', target);
    const { targetPod = '' } = await until(
      'unwanted',
      'has begun',
      ({ sourceStep }) => sourceStep !== undefined,
    );
    await fleet.admin.request({ method: 'DELETE', path: `${collection}/unwanted` });
    await within(30_000, 'it is gone', async () => {
      const found = await migration('unwanted').catch((error: unknown) => error);
      return found instanceof Error ? true : undefined;
    });
    await client.goesOn();
    await fleet.agent(target).start();
    await within(20_000, 'its target pod is gone', async () =>
      (await podNames()).includes(targetPod) ? undefined : true,
    );
    expect((await client.stop()).errors).toEqual([]);
    await Promise.all([remove('stays'), remove('asks')]);
  });

  it('end a move whose operator is killed in the middle: another one takes over', async () => {
    const server = await runPod('served', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await runPod('asking', far), server.address4, port, {
      connections: 3,
    });
    await begin('handed', 'served', target);
    await until('handed', 'has begun', ({ sourceStep }) => sourceStep !== undefined);
    await fleet.killOperators();
    await fleet.startOperator('operator-2');
    expect((await ended('handed')).phase).toBe('Succeeded');
    await client.goesOn();
    expect((await client.stop()).errors).toEqual([]);
  });

  it('bring a move to its end without an API server, and tell of it when there is one again', async () => {
    const server = await runPod('alone', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await runPod('afar', far), server.address4, port, { connections: 3 });
    await begin('offline', 'alone', target);
    // Of its network the target hears by the API server.
    const { targetPod = '' } = await until(
      'offline',
      'has a pod that waits',
      ({ targetStep }) => targetStep !== undefined && targetStep !== 'making',
    );
    await fleet.plane.killApiServer();
    const arrived = await within(20_000, 'the target runs it', async () =>
      (await fleet.agent(target).pods()).find(
        ({ name, epoch }) => name === `default/${targetPod}` && epoch === 1,
      ),
    );
    expect(arrived.mover).toBe('criu');
    await client.goesOn();
    const before = fleet.api.connections;
    await delay(5_000);
    await client.goesOn();
    // Seven watches of each of three agents, which wait between half a second and 30 s: none of them every 250 ms.
    expect(fleet.api.connections - before).toBeLessThan(3 * 7 * 20);

    await fleet.plane.startApiServer();
    // Each watch, the kubelet's too, is begun again after 30 s at the latest.
    expect((await ended('offline', 120_000)).phase).toBe('Succeeded');
    expect((await client.stop()).errors).toEqual([]);
  });

  it("lead clients of a ServalService to its replicas, which Kubernetes' own controllers find", async () => {
    await fleet.admin.request({
      method: 'POST',
      path: '/apis/serval.io/v1alpha1/namespaces/default/servalservices',
      body: {
        apiVersion,
        kind: 'ServalService',
        metadata: { name: 'web' },
        spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: port }] },
      },
    });
    const replica = (name: string, host: string) =>
      runPod(name, host, { command: traffic.serverCommand(port), labels: { app: 'web' } });
    const one = await replica('web-1', target);
    const vip = await within(20_000, 'the service has an address', async () => {
      const { status } = await fleet.admin.request<ServalService>({
        path: '/apis/serval.io/v1alpha1/namespaces/default/servalservices/web',
      });
      return status?.virtualIPs?.[0];
    });
    const clients = await runPod('clients', far);
    /** Resolves when the agent of the clients knows these and no others. */
    const known = (addresses: readonly string[]): Promise<unknown> =>
      within(10_000, `the agent knows ${addresses.join(' and ')}`, async () => {
        const path = '/v1/services?name=default/web';
        const views = await ask<ServiceView[]>(fleet.agent(far).socket, 'GET', path);
        const four = views.flatMap(({ ports }) => ports.filter(({ family }) => family === 4));
        const found = four.flatMap(({ replicas }) => replicas.map(({ address }) => address));
        if (found.sort().join() === [...addresses].sort().join()) return true;
        throw new Error(JSON.stringify(views));
      });
    await known([one.address4]);
    const client = await traffic.client(clients, vip, 80, { connections: 3 });
    await client.goesOn();
    const two = await replica('web-2', source);
    await known([one.address4, two.address4]);
    await remove('web-2');
    await known([one.address4]);
    expect((await client.stop()).errors).toEqual([]);
    const { status } = await fleet.admin.request<ServalService>({
      path: '/apis/serval.io/v1alpha1/namespaces/default/servalservices/web',
    });
    expect(status?.conditions).toMatchObject([{ type: 'Ready', status: 'True' }]);
  });
});
