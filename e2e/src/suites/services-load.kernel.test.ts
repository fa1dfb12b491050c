/**
 * Load decides who gets new flows, by real agents that tell each other of it. Three zones of two hosts, a replica and clients on
 * each; some 300 flows a replica, so that chance is 3 % of a zone's.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ReportView } from '@serval/api';
import { setTimeout as delay } from 'node:timers/promises';
import { startChurn, startLoop, startWho, type Churned, type LineClient } from '../clients/index.js';
import { ask, Fleet, LabService } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { LoadWatch, opened, shareOf, spreadOf, type Window } from './load-watch.js';

const port = 8080;
const vip = '10.96.0.10';
/** Connections a second from each host, and how long they live. */
const rate = 100;
const meanMs = 3_000;
const rampMs = 6_000;
/** All of these in the end. */
const flowsEach = (rate * meanMs) / 1_000;
const busyZone = 's1';
const windowMs = 2_000;
/** Promised: within 20 % of even in 10 s. */
const [promisedOff, promisedMs] = [0.2, 10_000];
const watchedMs = 30_000;
/** What the busy zone keeps of its own flows stays within so much to both sides of its mean, once the first rush is over. */
const [steadyMs, swing] = [15_000, 0.08];

describe('a service under load', () => {
  let lab: Lab;
  let fleet: Fleet;
  let watch: LoadWatch | undefined;
  const clients: Array<{ pod: Pod; load: LineClient<Churned> }> = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 3, hostsPerSite: 2 });
    fleet = await Fleet.start(lab);
  }, 60_000);

  afterAll(async () => {
    watch?.stop();
    await Promise.all(clients.map(({ load }) => load.stop()));
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  const onEachHost = (kind: string, more: (pod: Pod) => Promise<unknown>): Promise<Pod[]> =>
    Promise.all(
      lab.hosts.map(async ({ name }) => {
        const pod = await lab.createPod({ name: `${kind}-${name}`, host: name });
        await more(pod);
        await fleet.declare(pod, `shop/${pod.name}`);
        return pod;
      }),
    );

  const load = (pod: Pod, seed: number, ramp: number): void => {
    const options = { rate, meanMs, rampMs: ramp, everyMs: 500, seed };
    clients.push({ pod, load: startChurn(pod, vip, 80, options) });
  };

  const served = async (pod: Pod): Promise<void> => {
    for (const end = performance.now() + 5_000; performance.now() < end; await delay(20)) {
      const [row] = await startLoop(pod, vip, 80, { count: 1, timeoutMs: 200 }).finished();
      if (row?.name !== undefined) return;
    }
    throw new Error(`nobody answers ${pod.name}`);
  };

  it('stays in its zone while load is even, and comes near even when a zone is twice as busy', async () => {
    const replicas = await onEachHost('web', (pod) => startWho(pod, port));
    const pods = await onEachHost('client', () => Promise.resolve());
    const spec = { virtualIPs: [vip], ports: [{ port: 80 }] };
    new LabService(fleet, 'shop/web', spec, port).set(replicas.map((pod) => ({ pod })));
    await Promise.all(pods.map((pod) => served(pod)));
    watch = new LoadWatch(replicas, port);
    const inZone = (zone: string, some: readonly Pod[]): Pod[] =>
      some.filter(({ host }) => host.site === zone);
    const loadsOf = (zone: string): Array<LineClient<Churned>> =>
      clients.filter(({ pod }) => pod.host.site === zone).map(({ load: client }) => client);

    // Even load.
    for (const [seed, pod] of pods.entries()) load(pod, seed, rampMs);
    await delay(rampMs + 3 * meanMs);
    const even = { from: Date.now() - windowMs, to: Date.now() };
    for (const { name } of lab.sites)
      expect([name, shareOf(opened(loadsOf(name)), inZone(name, replicas))]).toEqual([name, 1]);
    for (const flows of watch.flows(even).values()) expect(flows).toBeGreaterThan(0.7 * flowsEach);
    expect(spreadOf(watch.zones(even).values())).toBeLessThan(promisedOff);
    const reports = await ask<ReportView[]>(fleet.agent('s1-h1').socket, 'GET', '/v1/reports');
    for (const { node, replicas: told } of reports)
      expect([node, told.some(({ established }) => established > flowsEach / 2)]).toEqual([node, true]);

    // One zone twice as busy.
    const began = Date.now();
    for (const [seed, pod] of inZone(busyZone, pods).entries()) load(pod, 100 + seed, 0);
    await delay(watchedMs);
    watch.stop();
    const timeline = Array.from({ length: watchedMs / 1_000 - 1 }, (_, second) => {
      const window: Window = { from: began + second * 1_000, to: began + second * 1_000 + windowMs };
      const zones = (watch as LoadWatch).zones(window);
      return {
        endsAfterMs: second * 1_000 + windowMs,
        zones: Object.fromEntries(zones),
        off: spreadOf(zones.values()),
        kept: shareOf(opened(loadsOf(busyZone), window), inZone(busyZone, replicas)),
      };
    });
    // It was felt before it was seen to.
    expect(Math.max(...timeline.map(({ off }) => off))).toBeGreaterThan(promisedOff);
    const settled = timeline.filter(({ endsAfterMs }) => endsAfterMs >= promisedMs);
    expect(settled.filter(({ off }) => off > promisedOff)).toEqual([]);
    const steady = timeline.filter(({ endsAfterMs }) => endsAfterMs >= steadyMs);
    const kept = steady.reduce((sum, each) => sum + each.kept, 0) / steady.length;
    expect(steady.filter((each) => Math.abs(each.kept - kept) > swing)).toEqual([]);
    // The others had no reason to send theirs away.
    for (const { name } of lab.sites.filter((site) => site.name !== busyZone))
      expect([name, shareOf(opened(loadsOf(name)), inZone(name, replicas))]).toEqual([name, 1]);
    for (const { load: client } of clients)
      expect(client.rows.filter(({ failed, lost }) => failed + lost > 0)).toEqual([]);
  }, 120_000);
});
