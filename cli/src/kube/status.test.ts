import { beforeEach, describe, expect, it } from '@jest/globals';
import { FakeCluster, refusal } from './cluster.fixture.js';
import { statusLines } from './describe-status.js';
import { gatherStatus, leaderOf } from './status.js';

const now = Date.parse('2026-01-01T01:00:00Z');
const serval = '/apis/serval.io/v1alpha1';
const lease = '/apis/coordination.k8s.io/v1/namespaces/serval-system/leases/serval-operator';

let cluster: FakeCluster;
beforeEach(() => {
  cluster = new FakeCluster();
  const ready = { type: 'Ready', status: 'True', reason: 'R', message: '' };
  cluster.put(`${serval}/servalnodes/n1`, {
    metadata: { name: 'n1' },
    spec: { address: '192.0.2.1:7946', zone: 'a' },
    status: {
      ...{
        agentVersion: '1.0.0',
        kernelVersion: '6.12.1',
        lastSeen: '2026-01-01T00:59:50Z',
        conditions: [ready],
      },
      capabilities: [
        { name: 'datapath', available: true },
        { name: 'criu', available: false, message: 'no criu' },
      ],
    },
  });
  cluster.put(lease, leaseOf('op-1', '2026-01-01T00:59:58.000000Z'));
});

function leaseOf(
  holderIdentity: string | null,
  renewTime: string | null,
): { metadata: { name: string }; spec: object } {
  return {
    metadata: { name: 'serval-operator' },
    spec: { holderIdentity, renewTime, leaseDurationSeconds: 8 },
  };
}

function migration(name: string, status: object, deadlineSeconds = 60): void {
  const path = `${serval}/namespaces/default/servalmigrations/${name}`;
  cluster.put(path, { metadata: { name, namespace: 'default' }, spec: { deadlineSeconds }, status });
}

describe('the status', () => {
  it('is healthy where nodes are ready, somebody leads, and nothing is stuck', async () => {
    migration('runs', { startedAt: '2026-01-01T00:59:00Z' });
    migration('failed', { finishedAt: '2026-01-01T00:10:00Z' });
    const report = await gatherStatus(cluster, now);
    expect(report).toMatchObject({
      ...{ healthy: true, problems: [] },
      migrations: { running: 1, failed: 1, succeeded: 0, overdue: 0 },
      nodes: [{ name: 'n1', ready: true, zone: 'a', version: '1.0.0', kernel: '6.12.1' }],
    });
    const lines = statusLines(report, { wide: false, width: 80, now });
    expect(lines[1]).toMatch(/^n1 +yes +1\.0\.0 +6\.12\.1 +10s +datapath, not criu$/);
    expect(lines.at(-1)).toBe('healthy');
    expect(statusLines(report, { wide: true, width: 80, now })[1]).toMatch(/not criu \(no criu\) +a +192/);
  });

  it('is not while something runs past its deadline, serves nobody, or is silent', async () => {
    migration('stuck', { startedAt: '2026-01-01T00:30:00Z' });
    cluster.put(`${serval}/servalnodes/n2`, { metadata: { name: 'n2' }, spec: { address: '' } });
    cluster.put(`${serval}/namespaces/default/servalservices/cart`, {
      metadata: { name: 'cart', namespace: 'default', generation: 2 },
      status: {
        observedGeneration: 1,
        conditions: [{ type: 'Ready', status: 'False', reason: 'NoReplicas', message: 'nobody' }],
      },
    });
    const { healthy, problems } = await gatherStatus(cluster, now);
    expect([healthy, problems]).toEqual([
      false,
      [
        'node n2 is not ready: its agent has not said anything yet',
        'service default/cart: nobody; the operator has not looked at its latest change yet',
        'migration default/stuck runs past its deadline',
      ],
    ]);
  });

  it('is not where there are no nodes', async () => {
    cluster.objects.delete(`${serval}/servalnodes/n1`);
    const report = await gatherStatus(cluster, now);
    expect(report.problems).toEqual(['no node has an agent']);
    expect(statusLines(report, { wide: false, width: 80, now })[0]).toMatch(/no agent has declared its node/);
  });

  it('looks into the usual namespace where not all may be seen', async () => {
    for (const path of ['/api/v1/pods', '/apis/coordination.k8s.io/v1/leases'])
      cluster.answers.set(`GET ${path}`, () => {
        throw refusal(path, 403);
      });
    expect(await gatherStatus(cluster, now)).toMatchObject({
      healthy: true,
      operator: { leader: { holder: 'op-1' } },
    });
  });
});

describe('who leads', () => {
  it.each([
    [leaseOf('op-1', '2026-01-01T00:59:10.000000Z'), undefined],
    [leaseOf('op-1', '2026-01-01T00:58:50.000000Z'), /has last renewed its lease at 2026/],
    [leaseOf('op-1', null), /at never/],
    [leaseOf('', '2026-01-01T00:59:58.000000Z'), /gave its lease up/],
    [leaseOf(null, null), /gave its lease up/],
  ])('is told by the Lease %j', (found, problem) => {
    expect(leaderOf([found], now).problem).toEqual(
      problem === undefined ? undefined : expect.stringMatching(problem),
    );
    expect(leaderOf([], now).problem).toMatch(/has ever led/);
  });
});
