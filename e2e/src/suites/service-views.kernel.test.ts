/** What `serval services` and `serval resolve` say is what who connects really gets. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  discoveryVersion,
  serviceNameLabel,
  type ResolveAnswer,
  type ResolveView,
  type ServalServiceSpec,
  type ServicePortView,
  type ServiceView,
} from '@serval/api';
import { goClient, startMovableWho, startWho } from '../clients/index.js';
import { ask, Fleet } from '../fleet/index.js';
import { createLab, type Lab, type NetworkNode, type Pod } from '../lab/index.js';

const port = 7000;
const [home, away] = ['s1-h1', 's2-h1'] as const;
const cliMain = new URL('../../../cli/dist/main.js', import.meta.url).pathname;

describe('the service table', () => {
  let lab: Lab;
  let fleet: Fleet;
  let replicas: Pod[];
  const clients: Array<[name: string, node: NetworkNode]> = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 2 });
    fleet = await Fleet.start(lab);
    const movable = await lab.createPod({ name: 'r0', host: home });
    const others = [];
    for (const [name, host] of [
      ['r1', home],
      ['r2', away],
    ] as const) {
      const pod = await lab.createPod({ name, host });
      await startWho(pod, port);
      await fleet.declare(pod, `shop/${name}`);
      others.push(pod);
    }
    await fleet.declare(movable, 'shop/r0', { process: await startMovableWho(lab, movable, port) });
    replicas = [movable, ...others];
    clients.push(['host/processes', fleet.agent(home).host], ['shop/r0', movable]);
    for (const name of ['c1', 'c2', 'c3']) {
      const pod = await lab.createPod({ name, host: home });
      await fleet.declare(pod, `shop/${name}`);
      clients.push([`shop/${name}`, pod]);
    }
    const everywhere = { locality: 'Ignore' } as const;
    declare('by-client', '10.96.0.1', { ...everywhere, affinity: 'Client' });
    declare('in-turn', '10.96.0.2', { ...everywhere, balance: 'RoundRobin' });
    declare('own', '10.96.0.3', { ...everywhere, ownReplica: 'Prefer' });
    declare('empty', '10.96.0.4', {}, []);
    declare('waits', '10.96.0.5', { whenEmpty: 'Wait', maxDelayMs: 300 }, []);
    declare('near', '10.96.0.6', {});
    await until(async () => {
      const all = await services();
      return all.length === 6 && all.every(({ ports }) => ports[0]?.virtualIPs.length === 1);
    });
  }, 60_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  const write = (name: string, object: object): void => {
    const path = join(fleet.agent(home).directory, `${name}.yaml`);
    writeFileSync(`${path}.new`, JSON.stringify(object));
    renameSync(`${path}.new`, path);
  };

  const declare = (
    name: string,
    virtualIP: string,
    spec: Partial<ServalServiceSpec>,
    pods: readonly Pod[] = replicas,
  ): void => {
    const whole = { virtualIPs: [virtualIP], ports: [{ port: 80 }], ...spec };
    fleet.agent(home).declare('ServalService', { namespace: 'shop', name }, whole);
    write(`slice_${name}`, {
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: { namespace: 'shop', name: `${name}-1`, labels: { [serviceNameLabel]: name } },
      addressType: 'IPv4',
      endpoints: pods.map(({ address4, host }) => ({ addresses: [address4], nodeName: host.name })),
      ports: [{ port }],
    });
  };

  const api = <Answer>(path: string): Promise<Answer> => ask(fleet.agent(home).socket, 'GET', path);
  const services = (): Promise<ServiceView[]> => api('/v1/services');

  const resolved = async (name: string, from: string): Promise<ResolveAnswer> => {
    const query = new URLSearchParams({ name, from });
    const { answers } = await api<ResolveView>(`/v1/resolve?${query.toString()}`);
    expect(answers).toHaveLength(1);
    return answers[0] as ResolveAnswer;
  };
  const nameOf = (address: string | undefined): string | undefined =>
    replicas.find(({ address4 }) => address4 === address)?.name;

  const serval = (...words: string[]): Promise<{ code: number; out: string; err: string }> =>
    new Promise((resolve) =>
      execFile(
        process.execPath,
        [cliMain, ...words, '--socket', fleet.agent(home).socket],
        (error, out, err) => resolve({ code: Number(error?.code ?? 0), out, err }),
      ),
    );

  const until = async (holds: () => Promise<boolean>, withinMs = 10_000): Promise<void> => {
    const deadline = performance.now() + withinMs;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error(`not in time: ${JSON.stringify(await services())}`);
      await delay(20);
    }
  };

  it.each([
    ['by-client', ['client']],
    ['in-turn', ['turn']],
    ['own', ['own', 'chance']],
    ['near', ['chance']],
  ])(
    'tells which replica of %s is next',
    async (name, ways) => {
      const [said, met, by]: [unknown[], unknown[], Set<unknown>] = [[], [], new Set()];
      for (let round = 0; round < 3; round++)
        for (const [from, node] of clients) {
          const answer = await resolved(`shop/${name}`, from);
          const [got] = (await goClient(node, answer.asked.address, answer.asked.port)).answers;
          by.add(answer.by);
          // What is drawn by chance nobody can foretell, but who may be drawn.
          const likely = answer.chances?.map(({ address }) => nameOf(address));
          said.push([
            from,
            answer.by === 'chance'
              ? likely?.find((each) => each === got?.name)
              : nameOf(answer.replica?.address),
          ]);
          met.push([from, got?.name]);
        }
      expect(said).toEqual(met);
      expect([...by].sort()).toEqual([...ways].sort());
      if (name === 'own') expect(met).toContainEqual(['shop/r0', 'r0']);
      if (name === 'near') expect(met).not.toContainEqual([expect.anything(), 'r2']);
    },
    30_000,
  );

  it('counts what was asked, and tells what was measured', async () => {
    let port: ServicePortView | undefined;
    await until(async () => {
      const [view] = await api<ServiceView[]>('/v1/services?name=shop%2Fin-turn');
      port = view?.ports[0];
      const isKnown = port?.replicas.every(({ load, rttUs = 0 }) => load !== undefined && rttUs > 0) ?? false;
      return view?.inUse === true && isKnown;
    });
    expect(port).toMatchObject({
      rule: 'FORWARD',
      balance: 'IN_TURN',
      resolved: 3 * clients.length,
      refused: 0,
    });
    // Nobody has connected to this one.
    expect((await api<ServiceView[]>('/v1/services?name=shop%2Fwaits'))[0]).toMatchObject({ inUse: false });
    expect(port?.replicas.map(({ ring }) => ring).sort()).toEqual(['node', 'node', 'world']);
    for (const { weight } of port?.replicas ?? []) expect(weight).toBeCloseTo(1 / 3);
  }, 30_000);

  it('is printed, with exit codes that say whether connect() would fail', async () => {
    const table = await serval('services');
    expect([table.code, table.err]).toEqual([0, '']);
    expect(table.out).toMatch(
      /^SERVICE .*\nshop\/by-client +10\.96\.0\.1:80\/tcp +FORWARD +by client +3 of 3 /,
    );
    expect((await serval('services', '-o', 'wide')).out.split('\n')).toHaveLength(1 + 4 * 3 + 2 + 1);
    expect((await serval('services', 'shop/near')).out).toMatch(/locality Prefer[^]* r?[^]*nearest/);
    const from = ['--from', 'shop/c1'];
    expect(await serval('resolve', 'by-client', ...from)).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /^10\.96\.0\.1:80\/tcp \(shop\/by-client\) from shop\/c1: .*\n {2}by client/,
      ),
    });
    expect(await serval('resolve', 'empty.shop.svc.cluster.local')).toMatchObject({
      code: 1,
      out: expect.stringMatching(/refused \(DROP\)\n {2}it has no replicas: connect\(\) fails at once/),
    });
    await expect(goClient(fleet.agent(home).host, '10.96.0.4', 80)).rejects.toThrow(/1 of 1 failed/);
    expect(await serval('resolve', '10.96.0.5:80', ...from)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/waits \(DELAY\)\n.*300 ms at most/),
    });
    expect(await serval('resolve', 'nothing', ...from)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/shop\/nothing/),
    });
    expect(await serval('resolve', 'near', '--from', 'shop/r2')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no such pod on its node/),
    });
  }, 30_000);

  it('tells where an address leads that a workload has left', async () => {
    const old = (replicas[0] as Pod).address4;
    await fleet.move('shop/r0', home, away);
    await until(async () => (await resolved(`${old}:${port}`, 'shop/c1')).outcome === 'moved');
    const answer = await resolved(`${old}:${port}`, 'shop/c1');
    expect(answer).toMatchObject({ fails: false, replica: { port, node: away } });
    const node = clients.find(([name]) => name === 'shop/c1')?.[1] as NetworkNode;
    expect((await goClient(node, old, port)).counts).toEqual({ r0: 1 });
    const [view] = await api<ServiceView[]>('/v1/services?name=shop%2Fin-turn');
    expect(view?.ports[0]?.replicas).toContainEqual(
      expect.objectContaining({
        identity: old,
        address: answer?.replica?.address,
        node: away,
        ring: 'world',
      }),
    );
  }, 60_000);
});
