/**
 * Agents in Kubernetes mode without an API server: under a move, and while services change. What they have in the kernel stays as
 * it is, byte for byte, whatever the API server does.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { dataPlane, KubeFleet, KubeScene, type DataPlane } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { lists } from './outage.js';
import { within } from './within.js';
import { Traffic, type StreamClient } from '../traffic/index.js';

beforeAll(() => requireRoot());
jest.setTimeout(300_000);

const [source, target, far] = ['s1-h1', 's2-h1', 's3-h1'];
const hosts = [source, target, far];
const port = 7000;
const ports = [{ name: 'web', port: 80, targetPort: port }];
/** `npm run e2e -- api` takes the 60 s that are promised. */
const outageMs = Number(process.env['SERVAL_OUTAGE_SECONDS'] ?? 20) * 1_000;
const cutMs = 10_000;
/** Of each agent. */
const watches = 7;

describe('agents without an API server', () => {
  let lab: Lab;
  let fleet: KubeFleet;
  let traffic: Traffic;
  let scene: KubeScene;
  let vip: string;
  let one: Pod;
  const clients: StreamClient[] = [];

  const replica = { command: [] as string[], labels: { app: 'web' } };
  const connect = async (pod: string, to: string, at: number): Promise<void> => {
    const options = { connections: 3, newcomers: 0.5 };
    clients.push(await traffic.client(await scene.runPod(pod, far), to, at, options));
  };
  const goOn = (): Promise<unknown> => Promise.all(clients.map((client) => client.goesOn()));

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await KubeFleet.start(lab, { controlPlane: { progress: console.log } });
    traffic = new Traffic(lab, fleet.imagesDir);
    scene = new KubeScene(fleet);
    replica.command = traffic.serverCommand(port);
    await scene.addService('web', {
      selector: { app: 'web' },
      ports,
      // By load the agents would weigh anew by themselves.
      balance: 'RoundRobin',
    });
    one = await scene.runPod('web-1', target, replica);
    vip = await scene.virtualIP('web');
    await connect('asks-web', vip, 80);
  }, 120_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 60_000);

  const planes = (): Promise<DataPlane[]> =>
    Promise.all(hosts.map((host) => dataPlane(fleet.agent(host).folders.bpffs)));

  it('end a move, and change nothing more; then all is as it should be', async () => {
    const server = await scene.runPod('alone', source, { command: traffic.serverCommand(port) });
    await connect('afar', server.address4, port);
    await scene.migrate('offline', 'alone', target);
    // Of its network the target hears by the API server.
    const { targetPod = '' } = await scene.until(
      'offline',
      'has a pod that waits',
      ({ targetStep }) => targetStep !== undefined && targetStep !== 'making',
    );
    // Some agents hear of it, others don't.
    await scene.changeService('web', { ports: [...ports, { name: 'more', port: 81, targetPort: port }] });
    await fleet.plane.killApiServer();
    const from = performance.now();
    const arrived = await within(20_000, 'the target runs it', async () =>
      (await fleet.agent(target).pods()).find(
        ({ name, epoch }) => name === `default/${targetPod}` && epoch === 1,
      ),
    );
    expect(arrived.mover).toBe('criu');
    console.log(`at its target ${Math.round(performance.now() - from)} ms after the API server is gone`);
    // Peers are told, and the source is taken apart but for its pod.
    await delay(3_000);
    const before = await planes();
    for (const part of ['programs', 'links', 'sal_programs', 'sal_pods', 'sal_services', 'sal_replicas'])
      for (const plane of before) expect({ part, holds: plane[part] }).not.toEqual({ part, holds: [] });
    // Those of the connections that have moved.
    expect(before.flatMap(({ sal_slots: slots = [] }) => slots).length).toBeGreaterThanOrEqual(6);
    const connections = fleet.api.connections;
    while (performance.now() - from < outageMs) {
      await goOn();
      await delay(1_000);
    }
    expect(await planes()).toEqual(before);
    const tried = fleet.api.connections - connections;
    console.log(`${tried} connections tried by ${hosts.length} agents`);
    // Watches wait between half a second and 30 s from one try to the next.
    expect(tried).toBeLessThan(hosts.length * watches * 10);

    await fleet.plane.startApiServer();
    await delay(5_000);
    const requests = await fleet.plane.requests();
    console.log(`within 5 s ${lists(requests)} LISTs of ours: ${JSON.stringify(requests)}`);
    // One of each watch at most, of agents, operator, and kubelet.
    expect(lists(requests)).toBeLessThanOrEqual(hosts.length * watches + 10);
    // Each watch, the kubelet's too, is begun again after 30 s at the latest.
    expect((await scene.ended('offline', 120_000)).phase).toBe('Succeeded');
    for (const host of hosts) await scene.leadsTo(host, 'web', [one.address4, one.address4], 60_000);
    expect(await planes()).not.toEqual(before);
    await goOn();
  });

  it('change nothing while services change without them, and have all of it when they are back', async () => {
    const before = await planes();
    await Promise.all(hosts.map((host) => fleet.api.cut(host)));
    const two = await scene.makePod('web-2', source, replica);
    await scene.changeService('web', { ports });
    await scene.addService('other', { selector: { app: 'web' }, ports });
    await delay(cutMs);
    expect(await planes()).toEqual(before);
    await goOn();
    await Promise.all(hosts.map((host) => fleet.api.lead(lab.host(host))));
    for (const service of ['web', 'other'])
      for (const host of hosts) await scene.leadsTo(host, service, [one.address4, two.address4], 60_000);
    await goOn();
    for (const client of clients.splice(0)) {
      const { errors, connectMs } = await client.stop();
      expect(errors).toEqual([]);
      expect(connectMs.filter(([, ms]) => ms < 0)).toEqual([]);
      expect(connectMs.length).toBeGreaterThan(100);
    }
  });
});
