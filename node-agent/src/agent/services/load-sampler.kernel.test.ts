/** The sampler in real network namespaces. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { native } from '../../native.js';
import {
  A,
  Actor,
  B,
  endActors,
  makeNamespaces,
  netns,
  removeNamespaces,
  run,
  tcpClient,
  tcpServer,
} from '../../native-netns.fixture.js';
import type { AgentPod } from '../pods.js';
import { LoadSampler } from './load-sampler.js';
import { podAt, workloadAt } from './pod.fixture.js';

/** On lo of B, as a moved workload has the address that it left. */
const old = '198.51.100.1';

beforeAll(() => {
  makeNamespaces();
  run(A, 'ip', 'route', 'add', old, 'via', '10.77.0.2');
});
afterEach(endActors);
afterAll(removeNamespaces);

async function sampled(...pods: AgentPod[]) {
  const errors: unknown[] = [];
  const sampler = new LoadSampler({
    pods: () => pods,
    count: (path, protocol) => native().countSockets(path, protocol),
    onError: (pod, error) => errors.push([pod, (error as { code: string }).code]),
  });
  await sampler.look();
  const replicas = [...sampler.replicas].sort(
    (a, b) => a.address.localeCompare(b.address) || a.port - b.port,
  );
  return { replicas, errors };
}

async function connect(...addresses: string[]): Promise<void> {
  for (const address of addresses) await new Actor(A, tcpClient(address, 7200)).said(/connected/);
}

describe('LoadSampler in namespaces', () => {
  it('counts flows of a moved workload that are bound to where it was', async () => {
    await new Actor(B, tcpServer('::', 7200)).said(/listening/);
    await new Actor(B, tcpServer(old, 7201)).said(/listening/);
    await connect('10.77.0.2', old, old, 'fd77::2');
    const pod = workloadAt(['10.77.0.2', 'fd77::2'], { identityAddresses: [old] }, { netns: netns(B) });
    expect(await sampled(pod)).toEqual({
      errors: [],
      replicas: [
        { protocol: 'tcp', address: '10.77.0.2', port: 7200, established: 3, backlog: 0 },
        { protocol: 'tcp', address: '10.77.0.2', port: 7201, established: 0, backlog: 0 },
        { protocol: 'tcp', address: 'fd77::2', port: 7200, established: 1, backlog: 0 },
      ],
    });
  });

  it("counts of a pod on the host's network what is bound to its addresses", async () => {
    await new Actor(B, tcpServer('::', 7200)).said(/listening/);
    await connect('10.77.0.2', old, old);
    const pod = podAt('10.77.0.2', { netns: netns(B), hostNetwork: true });
    expect((await sampled(pod)).replicas).toMatchObject([{ address: '10.77.0.2', established: 1 }]);
  });

  it('goes on where a namespace is gone', async () => {
    await new Actor(B, tcpServer('::', 7200)).said(/listening/);
    const gone = podAt('10.77.0.9', { netns: '/run/netns/sal-gone' });
    const { replicas, errors } = await sampled(gone, podAt('10.77.0.2', { netns: netns(B) }));
    expect(replicas).toMatchObject([{ address: '10.77.0.2', port: 7200 }]);
    expect(errors).toEqual([['shop/10.77.0.9', 'ENOENT']]);
  });
});
