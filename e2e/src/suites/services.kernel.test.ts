/** Clients name a service, and real agents see to it that they get a replica, whatever becomes of some of them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServalServiceSpec, ServiceView } from '@serval/api';
import { setTimeout as delay } from 'node:timers/promises';
import { startHold, startLoop, startMovableWho, startWho, summarize } from '../clients/index.js';
import { ask, Fleet, LabService } from '../fleet/index.js';
import { auditRecording, createLab, type Lab, type Pod } from '../lab/index.js';

const port = 8080;
const vip4 = '10.96.0.10';
const vip6 = 'fd96::10';
const hosts = ['s1-h1', 's2-h1', 's3-h1'] as const;

describe('services', () => {
  let lab: Lab;
  let fleet: Fleet;
  let service: LabService | undefined;
  let count = 0;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await Fleet.start(lab);
  }, 60_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  afterEach(async () => {
    service?.remove();
    for (const agent of fleet.agents.values()) await agent.undeclareAll('ServalPod');
    for (const pod of lab.pods) await pod.remove();
  }, 30_000);

  const newPod = async (host: string, kind: string): Promise<Pod> =>
    lab.createPod({ name: `${kind}-${++count}`, host });

  const newClient = async (host: string): Promise<Pod> => {
    const pod = await newPod(host, 'client');
    await fleet.declare(pod, `shop/${pod.name}`);
    return pod;
  };

  /** One on each of these hosts. */
  const newReplicas = (on: readonly string[]): Promise<Pod[]> =>
    Promise.all(
      on.map(async (host) => {
        const pod = await newPod(host, 'web');
        const process = await startMovableWho(lab, pod, port);
        await fleet.declare(pod, `shop/${pod.name}`, { process });
        return pod;
      }),
    );

  const serve = (replicas: readonly Pod[], more: Partial<ServalServiceSpec> = {}): LabService => {
    service = new LabService(
      fleet,
      'shop/web',
      {
        virtualIPs: [vip4, vip6],
        ports: [
          { name: 'http', port: 80, protocol: 'TCP' },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
        ...more,
      },
      port,
    );
    service.set(replicas.map((pod) => ({ pod })));
    return service;
  };

  /** Resolves when somebody answers there. */
  const served = async (client: Pod, address = vip4): Promise<void> => {
    for (const end = performance.now() + 5_000; performance.now() < end; await delay(20)) {
      const rows = await startLoop(client, address, 80, { count: 1, timeoutMs: 200 }).finished();
      if (rows[0]?.name !== undefined) return;
    }
    throw new Error(`nobody answers ${client.name} at ${address}`);
  };

  /** Resolves when a connect() from this host waits. */
  const waits = async (host: string): Promise<void> => {
    const { socket } = fleet.agent(host);
    for (const end = performance.now() + 5_000; performance.now() < end; await delay(20)) {
      const views = await ask<ServiceView[]>(socket, 'GET', '/v1/services');
      const rules = views.flatMap(({ ports }) => ports.map(({ rule }) => rule));
      if (rules.length > 0 && rules.every((rule) => rule === 'DELAY')) return;
    }
    throw new Error(`${host} does not delay`);
  };

  it.each([vip4, vip6])(
    'gives a pod a replica at %s, the host as well, by TCP and UDP',
    async (address) => {
      const replicas = await newReplicas(hosts);
      serve(replicas, { locality: 'Ignore', balance: 'RoundRobin' });
      const client = await newClient('s1-h1');
      await served(client, address);
      const names = replicas.map(({ name }) => name).sort();
      for (const node of [client, lab.host('s1-h1')]) {
        const tcp = summarize(await startLoop(node, address, 80, { count: 30 }).finished());
        expect(tcp.failed).toBe(0);
        expect(Object.keys(tcp.counts).sort()).toEqual(names);
        for (const udp of ['connected', 'unconnected'] as const) {
          const rows = await startLoop(node, address, 53, { count: 10, udp }).finished();
          expect(summarize(rows).failed).toBe(0);
          for (const { peer } of rows) expect(peer).toContain(address);
        }
      }
    },
    60_000,
  );

  it('keeps flows in their zone while load is even, and puts no virtual IP on the wire', async () => {
    const replicas = await newReplicas([...hosts, ...hosts]);
    serve(replicas);
    const clients = await Promise.all(hosts.map((host) => newClient(host)));
    await Promise.all(clients.map((client) => served(client)));
    const recorder = await lab.recordFabric();
    const loops = clients.map((client) => startLoop(client, vip4, 80, { seconds: 5, rate: 40 }));
    const results = await Promise.all(loops.map((loop) => loop.finished()));
    const recording = await recorder.stop();
    for (const [i, rows] of results.entries()) {
      const { failed, counts } = summarize(rows);
      expect(failed).toBe(0);
      const zone = clients[i]?.host.site;
      const near = replicas.filter(({ host }) => host.site === zone).map(({ name }) => name);
      expect(Object.keys(counts).sort()).toEqual(near.sort());
      for (const { peer } of rows) expect(peer).toBe(`${vip4}:80`);
    }
    expect(auditRecording(recording, lab.assignments)).toEqual([]);
    expect(
      recording.packets.filter(({ source, destination }) => source === vip4 || destination === vip4),
    ).toEqual([]);
  }, 60_000);

  it('lets no connect() fail, or take longer than 300 ms, when the host of replicas is cut off', async () => {
    const replicas = await newReplicas(['s2-h1', 's3-h1', 's3-h1']);
    serve(replicas, { locality: 'Ignore' });
    const client = await newClient('s1-h1');
    await served(client);
    const loop = startLoop(client, vip4, 80, { rate: 50, seconds: 8 });
    await delay(2_000);
    await lab.cut('s2-h1');
    const cutAt = Date.now();
    const rows = await loop.finished();
    await lab.mend('s2-h1');
    const slow = rows.filter(({ error, connectMs }) => error !== undefined || connectMs >= 300);
    expect(slow.map((row) => ({ ...row, sinceCutMs: row.at - cutAt }))).toEqual([]);
    const silent = replicas[0]?.name;
    expect(rows.some(({ at, name }) => at < cutAt && name === silent)).toBe(true);
    expect(rows.some(({ at, name }) => at > cutAt + 100 && name === silent)).toBe(false);
    for (const { peer } of rows) expect(peer).toBe(`${vip4}:80`);
  }, 60_000);

  it('lets no connect() fail, or take longer than 300 ms, when a replica on its own segment falls silent', async () => {
    const [silent, ...others] = (await newReplicas(['s1-h1', 's1-h1', 's2-h1'])) as [Pod, Pod, Pod];
    serve([silent, ...others], { locality: 'Ignore' });
    const client = await newClient('s1-h1');
    await served(client);
    const loop = startLoop(client, vip4, 80, { rate: 50, seconds: 5 });
    await delay(1_500);
    const silentAt = Date.now();
    // Its processes live, and its hardware address is known: only that nothing comes back.
    await silent.run('ip', ['link', 'set', 'eth0', 'down']);
    const rows = await loop.finished();
    const slow = rows.filter(({ error, connectMs }) => error !== undefined || connectMs >= 300);
    expect(slow.map((row) => ({ ...row, sinceMs: row.at - silentAt }))).toEqual([]);
    expect(rows.some(({ at, connectMs }) => at > silentAt && connectMs >= 100)).toBe(true);
  }, 60_000);

  it('fails at once while there is nobody, or waits for the first that comes', async () => {
    const client = await newClient('s1-h1');
    const [replica] = (await newReplicas(['s2-h1'])) as [Pod];
    serve([]);
    const refused = await startLoop(client, vip4, 80, { rate: 10, seconds: 1 }).finished();
    expect(refused.at(-1)).toMatchObject({ error: expect.stringContaining('refused') });
    expect(refused.at(-1)?.connectMs).toBeLessThan(50);
    const waiting = serve([], { whenEmpty: 'Wait' });
    await waits('s1-h1');
    const loop = startLoop(client, vip4, 80, { count: 3, parallel: 3, timeoutMs: 20_000 });
    await delay(1_500);
    expect(loop.rows).toEqual([]);
    const cameAt = Date.now();
    waiting.set([{ pod: replica }]);
    const rows = await loop.finished();
    for (const row of rows) {
      expect(row).toMatchObject({ name: replica.name, peer: `${vip4}:80` });
      expect(row.at + row.connectMs - cameAt).toBeLessThan(500);
    }
  }, 60_000);

  it('lets down who has waited for long enough', async () => {
    const client = await newClient('s1-h1');
    serve([], { whenEmpty: 'Wait', maxDelayMs: 1_000 });
    await waits('s1-h1');
    const [row] = await startLoop(client, vip4, 80, { count: 1, timeoutMs: 20_000 }).finished();
    expect(row?.error).toBeDefined();
    expect(row?.connectMs).toBeGreaterThan(950);
    expect(row?.connectMs).toBeLessThan(2_000);
  }, 60_000);

  it('goes on while the only replica moves: what is there lives on, who comes then waits for the switch', async () => {
    const [replica] = (await newReplicas(['s2-h1'])) as [Pod];
    serve([replica]);
    const client = await newClient('s1-h1');
    await served(client);
    const held = startHold(client, vip4, 80, { connections: 5, everyMs: 20 });
    await held.opened(5);
    const loop = startLoop(client, vip4, 80, { rate: 50, seconds: 4 });
    await delay(500);
    await fleet.move(`shop/${replica.name}`, 's2-h1', 's3-h1');
    const rows = await loop.finished();
    // The slices say still where it was: who comes now is sent after it.
    const later = await startLoop(client, vip4, 80, { count: 5 }).finished();
    await held.stop();
    expect(held.lost).toEqual([]);
    expect(summarize([...rows, ...later])).toMatchObject({
      failed: 0,
      counts: { [replica.name]: rows.length + 5 },
    });
    // By its old address too, by whoever has kept that.
    const stale = await startLoop(client, replica.address4, port, { count: 5 }).finished();
    expect(summarize(stale)).toMatchObject({ failed: 0, counts: { [replica.name]: 5 } });
    for (const { peer } of stale) expect(peer).toBe(`${replica.address4}:${port}`);
    // Until somebody else has it.
    const heir = await lab.createPod({ name: `heir-${++count}`, host: 's2-h1', address4: replica.address4 });
    await startWho(heir, port);
    await fleet.declare(heir, `shop/${heir.name}`);
    await delay(500);
    const fresh = await startLoop(client, replica.address4, port, { count: 5 }).finished();
    expect(summarize(fresh)).toMatchObject({ failed: 0, counts: { [heir.name]: 5 } });
  }, 60_000);

  it('closes the connections to a replica that has died at once, and gives new ones to others', async () => {
    const [dying, other] = (await newReplicas(['s2-h1', 's3-h1'])) as [Pod, Pod];
    serve([dying]);
    const client = await newClient('s1-h1');
    await served(client);
    const held = startHold(client, vip4, 80, { connections: 3, everyMs: 0 });
    await held.opened(3);
    // The host goes dark; then the resources say that the replica is not ready any more.
    await lab.cut('s2-h1');
    service?.set([{ pod: dying, ready: false }, { pod: other }]);
    const rows = await held.until(
      'to lose all',
      (all) => all.filter(({ event }) => event === 'lost').length >= 3,
    );
    await lab.mend('s2-h1');
    expect(rows.filter(({ event }) => event === 'lost')).toHaveLength(3);
    const after = await startLoop(client, vip4, 80, { count: 10 }).finished();
    expect(summarize(after)).toMatchObject({ failed: 0, counts: { [other.name]: 10 } });
    await held.stop();
  }, 60_000);
});
