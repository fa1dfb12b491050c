/** Workloads move between real agents while every byte of their streams is checked. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Fleet } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { Traffic, type StreamClient } from '../traffic/index.js';

const port = 7000;
const hosts = ['s1-h1', 's2-h1', 's3-h1'] as const;
/** SERVAL_RANDOM_MOVES: so many random moves instead of 200 */
const randomMoves = Number(process.env['SERVAL_RANDOM_MOVES'] ?? 200);

interface Workload {
  pod: Pod;
  name: string;
  host: string;
}

describe('workloads that move', () => {
  let lab: Lab;
  let fleet: Fleet;
  let traffic: Traffic;
  let names = 0;

  beforeAll(async () => {
    lab = await createLab({ sites: 3 });
    fleet = await Fleet.start(lab);
    traffic = new Traffic(lab, fleet.imagesDir);
  }, 60_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  afterEach(async () => {
    for (const agent of fleet.agents.values()) await agent.undeclareAll('ServalPod');
    for (const pod of lab.pods) await pod.remove();
  }, 30_000);

  const newPod = (host: string, kind: string, address4?: string): Promise<Pod> =>
    lab.createPod({ name: `${kind}-${++names}`, host, ...(address4 === undefined ? {} : { address4 }) });

  const server = async (host: string): Promise<Workload> => {
    const pod = await newPod(host, 'server');
    const process = await traffic.server(pod, port);
    const name = `suite/${pod.name}`;
    await fleet.declare(pod, name, { process });
    return { pod, name, host };
  };

  const client = async (host: string, to: string, seed: number): Promise<StreamClient> => {
    const pod = await newPod(host, 'client');
    await fleet.declare(pod, `suite/${pod.name}`);
    return traffic.client(pod, to, port, { connections: 4, seed });
  };

  const move = async (workload: Workload, to: string): Promise<void> => {
    await fleet.move(workload.name, workload.host, to);
    workload.host = to;
  };

  const intact = async (clients: readonly StreamClient[]): Promise<void> => {
    const results = await Promise.all(clients.map((each) => each.stop()));
    for (const result of results)
      expect(result).toMatchObject({
        errors: [],
        finished: result.connections,
        established: result.connections,
      });
  };

  const goOn = (clients: readonly StreamClient[]): Promise<unknown> =>
    Promise.all(clients.map((each) => each.goesOn()));

  it('keep streams from their own host, from the target host and from elsewhere, there, on and back', async () => {
    const workload = await server('s1-h1');
    const { address4, address6 } = workload.pod;
    const clients = await Promise.all(
      hosts.flatMap((host, i) => [client(host, address4, i), client(host, address6, i + 10)]),
    );
    for (const to of ['s2-h1', 's3-h1', 's1-h1', 's2-h1', 's1-h1']) {
      await move(workload, to);
      await goOn(clients);
    }
    await intact(clients);
  }, 120_000);

  it('may do so at both ends of a stream at once', async () => {
    const workload = await server('s1-h1');
    const pod = await newPod('s2-h1', 'client');
    const moving = await traffic.movableClient(pod, workload.pod.address4, port, { connections: 8 });
    const other: Workload = { pod, name: `suite/${pod.name}`, host: 's2-h1' };
    await fleet.declare(pod, other.name, { process: moving.process });
    for (const [one, two] of [
      ['s3-h1', 's1-h1'],
      ['s2-h1', 's3-h1'],
      ['s1-h1', 's2-h1'],
    ] as const) {
      await Promise.all([move(workload, one), move(other, two)]);
      await moving.client.goesOn();
    }
    await intact([moving.client]);
  }, 120_000);

  it('may be ten that move at once', async () => {
    const workloads = await Promise.all(Array.from({ length: 10 }, (_, i) => server(hosts[i % 3] as string)));
    const clients = await Promise.all(
      workloads.map((workload, i) => client(hosts[(i + 1) % 3] as string, workload.pod.address4, i)),
    );
    for (let round = 0; round < 2; round++) {
      await Promise.all(
        workloads.map((workload) =>
          move(workload, hosts[(hosts.indexOf(workload.host as 's1-h1') + 1) % 3] as string),
        ),
      );
      await goOn(clients);
    }
    await intact(clients);
  }, 180_000);

  it('leave their address to somebody else, who talks to the same peers on the same ports', async () => {
    const workload = await server('s1-h1');
    const old = workload.pod.address4;
    const pod = await newPod('s3-h1', 'client');
    await fleet.declare(pod, `suite/${pod.name}`);
    const before = await traffic.client(pod, old, port, { connections: 4, seed: 1 });
    await move(workload, 's2-h1');
    const heir = await newPod('s1-h1', 'heir', old);
    await traffic.server(heir, port);
    await fleet.declare(heir, `suite/${heir.name}`);
    const after = await traffic.client(pod, old, port, { connections: 4, seed: 2 });
    await goOn([before, after]);
    await move(workload, 's1-h1');
    await goOn([before, after]);
    await intact([before, after]);
  }, 120_000);

  it(
    `survive ${randomMoves} random moves, several at a time, with streams between them and to others`,
    async () => {
      let seed = 0x5eed;
      const random = (below: number): number => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        return (seed >>> 8) % below;
      };
      const workloads = await Promise.all(hosts.map((host) => server(host)));
      const clients: StreamClient[] = [];
      for (const [i, { pod }] of workloads.entries())
        for (const host of hosts)
          clients.push(await client(host, i % 2 === 0 ? pod.address4 : pod.address6, i));
      const mover = await newPod('s1-h1', 'client');
      const target = workloads[1] as Workload;
      const moving = await traffic.movableClient(mover, target.pod.address4, port, {
        connections: 2,
        seed: 99,
      });
      const wanderer: Workload = { pod: mover, name: `suite/${mover.name}`, host: 's1-h1' };
      await fleet.declare(mover, wanderer.name, { process: moving.process });
      clients.push(moving.client);
      workloads.push(wanderer);
      const wander = async (workload: Workload): Promise<void> => {
        for (let i = 0; i < randomMoves / workloads.length; i++) {
          const others = hosts.filter((host) => host !== workload.host);
          await move(workload, others[random(2)] as string);
        }
      };
      await Promise.all(workloads.map(wander));
      await goOn(clients);
      await intact(clients);
    },
    600_000 + randomMoves * 2_000,
  );
});
