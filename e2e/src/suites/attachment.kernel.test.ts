import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { native } from '@serval/node-agent';
import type { Pod } from '../lab/index.js';
import { requireRoot } from '../lab/processes.js';
import { MovedWorld, nameOf, type MovedPair, type PairFlow } from './moved-pair.js';

/* Free until used (DESIGN.md, rule 3), on live pods. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

describe.each(['tcx', 'clsact'] as const)('attachment by %s', (attach) => {
  let world: MovedWorld;
  let pair: MovedPair;

  beforeAll(async () => {
    world = await MovedWorld.build({ attach });
    pair = await world.pair();
  });
  afterAll(() => world?.remove());

  /** Names of all programs on the pod's device, and its queueing disciplines. */
  async function attached({ netns, interface: device }: Pod) {
    const index = await native().interfaceIndex(netns, device);
    const names = async (direction: 'ingress' | 'egress') =>
      (await native().attachedPrograms(netns, index, direction)).map(({ kind, name }) => `${kind} ${name}`);
    return [...(await names('ingress')), ...(await names('egress'))];
  }
  const disciplines = (pod: Pod) => pod.run('tc', ['qdisc', 'show', 'dev', pod.interface]);
  const both = [`${attach} sal_ingress`, `${attach} sal_egress`];

  it('a pod without translated flows has no program attached: neither before the first rule nor after the last', async () => {
    const pods = [pair.client, pair.server];
    const before = await Promise.all(pods.map(disciplines));
    for (const pod of pods) expect(await attached(pod)).toEqual([]);

    const flow: PairFlow = { protocol: 'tcp', family: 4, clientPort: 50_001, serverPort: 50_002 };
    const first = await pair.translate(flow);
    const second = await pair.translate({ ...flow, family: 6 });
    for (const pod of pods) expect(await attached(pod)).toEqual(both);
    if (attach === 'clsact') expect(await disciplines(pair.client)).toContain('clsact');

    await pair.release(first);
    for (const pod of pods) expect(await attached(pod)).toEqual(both);
    await pair.release(second);
    for (const pod of pods) expect(await attached(pod)).toEqual([]);
    expect(await Promise.all(pods.map(disciplines))).toEqual(before);
  });

  it('a hold attaches too, for as long as it lasts', async () => {
    const datapath = world.datapathOf(pair.client);
    await datapath.holdPod(nameOf(pair.client), true);
    expect(await attached(pair.client)).toEqual(both);
    await datapath.holdPod(nameOf(pair.client), false);
    expect(await attached(pair.client)).toEqual([]);
  });

  it('a flow that is on the wire as itself again takes its programs with it', async () => {
    const flow: PairFlow = { protocol: 'tcp', family: 4, clientPort: 50_003, serverPort: 50_004 };
    const { atClient } = await pair.translate(flow);
    const datapath = world.datapathOf(pair.client);
    const home = { ...atClient, migration: 2n, wire: atClient.identity };
    await datapath.apply(nameOf(pair.client), [{ ...home, state: 'held' }]);
    await datapath.remove(nameOf(pair.client), { migration: atClient.migration });
    expect(await attached(pair.client)).toEqual(both);
    await datapath.setState(nameOf(pair.client), [home], 'active');
    expect(await attached(pair.client)).toEqual([]);
  });
});
