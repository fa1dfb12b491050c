/** Agents tell each other what becomes of their pods, and how loaded their replicas are. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ReportView } from '@serval/api';
import { ask, Fleet } from '../fleet/index.js';
import { counted, Intruder } from '../intruder/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { Traffic } from '../traffic/index.js';

const port = 7000;
const [home, away, third] = ['s1-h1', 's2-h1', 's3-h1'] as const;

describe('agents that report to each other', () => {
  let lab: Lab;
  let fleet: Fleet;
  let traffic: Traffic;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await Fleet.start(lab);
    traffic = new Traffic(lab, fleet.imagesDir);
  }, 60_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  /** What an agent has heard of another node. */
  const heard = async (at: string, of: string): Promise<ReportView | undefined> =>
    (await ask<ReportView[]>(fleet.agent(at).socket, 'GET', '/v1/reports')).find(({ node }) => node === of);

  /** How long it took, ms. */
  const until = async (
    [at, of]: readonly [string, string],
    holds: (report: ReportView) => boolean,
    withinMs = 5_000,
  ): Promise<number> => {
    const start = performance.now();
    for (;;) {
      const report = await heard(at, of);
      if (report !== undefined && holds(report)) return performance.now() - start;
      if (performance.now() - start > withinMs) throw new Error(`not in time: ${JSON.stringify(report)}`);
      await delay(5);
    }
  };

  const server = async (name: string): Promise<{ pod: Pod; pid: number }> => {
    const pod = await lab.createPod({ name, host: home });
    const process = await traffic.server(pod, port);
    await fleet.declare(pod, `suite/${name}`, { process });
    return { pod, pid: process.pid };
  };

  it('vouch for their pods, tell their load, and where one has moved to', async () => {
    const { pod } = await server('moves');
    const clientPod = await lab.createPod({ name: 'client', host: third });
    await fleet.declare(clientPod, 'suite/client');
    const client = await traffic.client(clientPod, pod.address4, port, { connections: 4, seed: 1 });
    await until([third, home], ({ pods }) => pods.includes(pod.address4) && pods.includes(pod.address6));
    const loaded = ({ replicas }: ReportView): boolean =>
      replicas.some(
        ({ address, port: at, established }) => address === pod.address4 && at === port && established === 4,
      );
    await until([third, home], loaded);

    const seen = new Set<string>();
    const watching = new AbortController();
    const watch = (async () => {
      while (!watching.signal.aborted)
        for (const address of (await heard(third, home))?.moving ?? []) seen.add(address);
    })();
    await fleet.move('suite/moves', home, away);
    const told = await until([third, home], ({ left }) =>
      left.some(({ address }) => address === pod.address4),
    );
    expect(told).toBeLessThan(1_000);
    watching.abort();
    await watch;
    expect(seen).toContain(pod.address4);
    const left = (await heard(third, home))?.left.find(({ address }) => address === pod.address4);
    await until([third, away], ({ pods }) => pods.includes(left?.now ?? ''));
    expect((await heard(third, home))?.died).toEqual([]);
    // Its flows are bound to the address that it had.
    const there = ({ replicas }: ReportView): boolean =>
      replicas.some(({ address, established }) => address === left?.now && established === 4);
    await until([third, away], there);

    // The agent that it has left knows that also after a restart.
    await fleet.agent(home).kill();
    await until([third, home], ({ silentMs = 0 }) => silentMs > 500);
    await fleet.agent(home).start();
    await until([third, home], ({ silentMs, heardMs = 1e9 }) => silentMs === undefined && heardMs < 500);
    expect((await heard(third, home))?.left).toContainEqual(left);
    await client.goesOn();
    expect(await client.stop()).toMatchObject({ errors: [] });
  }, 60_000);

  it('tell that a pod has died, at once where its resource goes, in a second where its process ends', async () => {
    const [removed, killed] = [await server('removed'), await server('killed')];
    const addresses = [removed.pod.address4, killed.pod.address4];
    await until([third, home], ({ pods }) => addresses.every((address) => pods.includes(address)));
    fleet.agent(home).undeclare('ServalPod', { namespace: 'suite', name: 'removed' });
    await until([third, home], ({ died }) => died.includes(removed.pod.address4), 1_000);
    process.kill(killed.pid, 'SIGKILL');
    await until([third, home], ({ died }) => died.includes(killed.pod.address4), 2_000);
    expect((await heard(third, home))?.pods).not.toContain(killed.pod.address4);
  }, 30_000);

  it('believe a node only what is about its own addresses', async () => {
    const { pod } = await server('defamed');
    await until([third, home], ({ pods }) => pods.includes(pod.address4));
    const agent = fleet.agent(third);
    const line = 'serval_reports_refused_total{reason="died"}';
    const before = await counted(agent, line);
    const pair = (file: string): string => join(fleet.certificates, file);
    const who = new Intruder(fleet.agent(away).host, { cert: pair(`${away}.crt`), key: pair(`${away}.key`) });
    const none = { replicas: [], pods: [], moving: [], left: [], moved: [], load: false };
    const died = [pod.address4];
    const answer = await who.tell(agent, { kind: 'report', ...none, died, sequence: Date.now() + 60_000 });
    expect(answer).toMatchObject({ status: 200, body: { ok: true } });
    expect((await heard(third, away))?.died).toEqual([]);
    expect((await counted(agent, line)) - before).toBe(1);
  }, 30_000);
});
