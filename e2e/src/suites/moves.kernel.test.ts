/** Workloads move between real agents while every byte of their streams is checked. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Fleet } from '../fleet/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { Traffic, type StreamClient } from '../traffic/index.js';

const port = 7000;

describe('a server that moves', () => {
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

  const pod = async (host: string, kind: string): Promise<Pod> => {
    const made = await lab.createPod({ name: `${kind}-${++names}`, host });
    return made;
  };

  const server = async (host: string): Promise<{ pod: Pod; name: string }> => {
    const at = await pod(host, 'server');
    const process = await traffic.server(at, port);
    const name = `suite/${at.name}`;
    await fleet.declare(at, name, { process });
    return { pod: at, name };
  };

  const client = async (host: string, to: string, seed: number): Promise<StreamClient> => {
    const at = await pod(host, 'client');
    await fleet.declare(at, `suite/${at.name}`);
    return traffic.client(at, to, port, { connections: 4, seed });
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

  it('keeps streams from its own host, from the target host and from elsewhere, there, on and back', async () => {
    const { pod: home, name } = await server('s1-h1');
    const clients = await Promise.all(
      ['s1-h1', 's2-h1', 's3-h1'].flatMap((host, i) => [
        client(host, home.address4, i),
        client(host, home.address6, i + 10),
      ]),
    );
    for (const [from, to] of [
      ['s1-h1', 's2-h1'],
      ['s2-h1', 's3-h1'],
      ['s3-h1', 's1-h1'],
    ] as const) {
      await fleet.move(name, from, to);
      await Promise.all(clients.map((each) => each.goesOn()));
    }
    await intact(clients);
  }, 120_000);
});
