/** Agents in Kubernetes mode on a real API server: they find their pods, tell of their nodes, and move workloads as they are told. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  apiVersion,
  type ServalMigration,
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

  const write = (name: string, status: object): Promise<unknown> =>
    fleet.admin.request({
      method: 'PATCH',
      path: `${collection}/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: { status },
    });

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

  /** What the operator writes before the agents begin. */
  async function declare(
    name: string,
    workload: string,
    { from, to, pod }: Record<'from' | 'to' | 'pod', string>,
  ) {
    await fleet.admin.request({
      method: 'POST',
      path: collection,
      body: {
        apiVersion,
        kind: 'ServalMigration',
        metadata: { name },
        spec: { workload: { name: workload }, targetNode: to },
      },
    });
    const { metadata } = await migration(name);
    const id = createHash('sha256')
      .update(metadata.uid ?? '')
      .digest('hex')
      .slice(0, 16);
    await runPod(pod, to, { annotations: { 'serval.io/migration-id': id } });
    await write(name, {
      phase: 'Moving',
      migration: id,
      sourceNode: from,
      targetNode: to,
      targetPod: pod,
      mover: 'criu',
      startedAt: new Date().toISOString(),
    });
  }

  const steps = (
    name: string,
    sources: readonly string[],
    targets: readonly string[],
    ms = 30_000,
  ): Promise<ServalMigration> =>
    within(ms, `${name} is ${sources.join(' or ')} and ${targets.join(' or ')}`, async () => {
      const object = await migration(name);
      const { sourceStep = '', targetStep = '', reason } = object.status ?? {};
      if (sourceStep === 'aborted') throw new Error(reason);
      return sources.includes(sourceStep) && targets.includes(targetStep) ? object : undefined;
    });

  const remove = (pod: string): Promise<unknown> =>
    fleet.admin.request({
      method: 'DELETE',
      path: `/api/v1/namespaces/default/pods/${pod}`,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 1 },
    });

  it('move a workload from pod to pod with its connections, also after they were killed', async () => {
    const server = await runPod('server', source, { command: traffic.serverCommand(port) });
    const nearPod = await runPod('near', source);
    const client = await traffic.client(await runPod('far', far), server.address4, port, { connections: 4 });
    const near = await traffic.client(nearPod, server.address4, port, { connections: 2 });
    const goOn = (): Promise<unknown> => Promise.all([client.goesOn(), near.goesOn()]);

    await declare('first', 'server', { from: source, to: target, pod: 'server-2' });
    // Until its pod is to go, the source's agent leaves it alone: the kubelet would start its program anew.
    await steps('first', ['retiring'], ['done']);
    await goOn();
    await remove('server');
    const { status } = await steps('first', ['retired'], ['done']);
    await goOn();
    expect(status).toMatchObject({ phase: 'Moving', flows: 6, lost: {} });
    expect(status?.freezeMs).toBeGreaterThan(0);

    // What has come there is more than the pod's object says.
    await fleet.agent(target).kill();
    await fleet.agent(target).start();
    await goOn();
    const pods = await fleet.agent(target).pods();
    expect(pods.find(({ name }) => name === 'default/server-2')).toMatchObject({ epoch: 1, mover: 'criu' });
    await declare('second', 'server-2', { from: target, to: far, pod: 'server-3' });
    await steps('second', ['retiring'], ['done']);
    await goOn();
    await remove('server-2');
    await steps('second', ['retired'], ['done']);
    await goOn();
    for (const each of [client, near]) expect((await each.stop()).errors).toEqual([]);
    await remove('server-3');
  });

  it('bring a move to its end without an API server, and tell of it when there is one again', async () => {
    const server = await runPod('alone', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await runPod('asks', far), server.address4, port, { connections: 3 });
    await declare('offline', 'alone', { from: source, to: target, pod: 'alone-2' });
    await within(10_000, 'it has begun', async () =>
      (await migration('offline')).status?.sourceStep === undefined ? undefined : true,
    );
    await fleet.plane.killApiServer();
    const arrived = await within(20_000, 'the target runs it', async () =>
      (await fleet.agent(target).pods()).find(({ name, epoch }) => name === 'default/alone-2' && epoch === 1),
    );
    expect(arrived.mover).toBe('criu');
    await client.goesOn();
    const before = fleet.api.connections;
    await delay(5_000);
    await client.goesOn();
    const tried = fleet.api.connections - before;

    await fleet.plane.startApiServer();
    // Each watch, the kubelet's too, is begun again after 30 s at the latest.
    await steps('offline', ['retiring'], ['done'], 60_000);
    // Seven watches of each of three agents, which wait between half a second and 30 s: none of them every 250 ms.
    expect(tried).toBeLessThan(3 * 7 * 20);
    await remove('alone');
    await steps('offline', ['retired'], ['done'], 90_000);
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
