/** Agents in Kubernetes mode on a real API server: they find their pods, tell of their nodes, and move workloads as they are told. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { ServalNode } from '@serval/api';
import { KubeFleet, KubeScene } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { within } from './within.js';
import { Traffic } from '../traffic/index.js';

beforeAll(() => requireRoot());
jest.setTimeout(200_000);

const [source, target, far] = ['s1-h1', 's2-h1', 's3-h1'];
const port = 7000;

describe('agents in Kubernetes mode', () => {
  let lab: Lab;
  let fleet: KubeFleet;
  let traffic: Traffic;
  let scene: KubeScene;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await KubeFleet.start(lab, { controlPlane: { progress: console.log } });
    traffic = new Traffic(lab, fleet.imagesDir);
    scene = new KubeScene(fleet);
  }, 120_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 60_000);

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

  it('move a workload from pod to pod with its connections, also after they were killed', async () => {
    const server = await scene.runPod('server', source, { command: traffic.serverCommand(port) });
    const nearPod = await scene.runPod('near', source);
    const client = await traffic.client(await scene.runPod('far', far), server.address4, port, {
      connections: 4,
    });
    const near = await traffic.client(nearPod, server.address4, port, { connections: 2 });
    const goOn = (): Promise<unknown> => Promise.all([client.goesOn(), near.goesOn()]);

    await scene.migrate('first', 'server', target);
    const first = await scene.ended('first');
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
    expect(await scene.podNames()).toEqual(expect.arrayContaining([second]));
    expect(await scene.podNames()).not.toContain('server');

    // What has come there is more than the pod's object says.
    await fleet.agent(target).kill();
    await fleet.agent(target).start();
    await goOn();
    const known = await fleet.agent(target).pods();
    expect(known.find(({ name }) => name === `default/${second}`)).toMatchObject({ epoch: 1, mover: 'criu' });
    await scene.migrate('second', second, far);
    const { phase, targetPod: third = '' } = await scene.ended('second');
    expect(phase).toBe('Succeeded');
    await goOn();
    for (const each of [client, near]) expect((await each.stop()).errors).toEqual([]);
    await scene.removePod(third);
  });

  it('take a move back when its object is deleted, and the workload goes on', async () => {
    const server = await scene.runPod('stays', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await scene.runPod('asks', far), server.address4, port, {
      connections: 3,
    });
    await fleet.agent(target).kill();
    await scene.migrate('unwanted', 'stays', target);
    const { targetPod = '' } = await scene.until(
      'unwanted',
      'has begun',
      ({ sourceStep }) => sourceStep !== undefined,
    );
    await scene.deleteMigration('unwanted');
    await within(30_000, 'it is gone', async () => {
      const found = await scene.migration('unwanted').catch((error: unknown) => error);
      return found instanceof Error ? true : undefined;
    });
    await client.goesOn();
    await fleet.agent(target).start();
    await within(20_000, 'its target pod is gone', async () =>
      (await scene.podNames()).includes(targetPod) ? undefined : true,
    );
    expect((await client.stop()).errors).toEqual([]);
    await Promise.all([scene.removePod('stays'), scene.removePod('asks')]);
  });

  it('end a move whose operator is killed in the middle: another one takes over', async () => {
    const server = await scene.runPod('served', source, { command: traffic.serverCommand(port) });
    const client = await traffic.client(await scene.runPod('asking', far), server.address4, port, {
      connections: 3,
    });
    await scene.migrate('handed', 'served', target);
    await scene.until('handed', 'has begun', ({ sourceStep }) => sourceStep !== undefined);
    await fleet.killOperators();
    await fleet.startOperator('operator-2');
    expect((await scene.ended('handed')).phase).toBe('Succeeded');
    await client.goesOn();
    expect((await client.stop()).errors).toEqual([]);
  });

  it("lead clients of a ServalService to its replicas, which Kubernetes' own controllers find", async () => {
    await scene.addService('web', { selector: { app: 'web' }, ports: [{ port: 80, targetPort: port }] });
    const replica = (name: string, host: string): Promise<Pod> =>
      scene.runPod(name, host, { command: traffic.serverCommand(port), labels: { app: 'web' } });
    const one = await replica('web-1', target);
    const vip = await scene.virtualIP('web');
    const clients = await scene.runPod('clients', far);
    await scene.leadsTo(far, 'web', [one.address4]);
    const client = await traffic.client(clients, vip, 80, { connections: 3 });
    await client.goesOn();
    const two = await replica('web-2', source);
    await scene.leadsTo(far, 'web', [one.address4, two.address4]);
    await scene.removePod('web-2');
    await scene.leadsTo(far, 'web', [one.address4]);
    expect((await client.stop()).errors).toEqual([]);
    const { status } = await scene.service('web');
    expect(status?.conditions).toMatchObject([{ type: 'Ready', status: 'True' }]);
  });
});
