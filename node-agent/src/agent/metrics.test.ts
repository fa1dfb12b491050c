import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type AddressInfo } from 'node:net';
import { AgentMetrics } from './metrics.js';
import { startMetricsServer, type Check, type MetricsServer } from '@serval/kube-runtime';

function metrics(flows: Record<string, number> = { active: 2, held: 0 }): AgentMetrics {
  return new AgentMetrics(
    {
      flows: () => Promise.resolve(flows),
      drops: () => Promise.resolve({ TTL: { packets: 3n, bytes: 300n } } as never),
      openMigrations: () => ({ source: 1, target: 0, peer: 4 }),
      resourceProblems: () => 5,
    },
    { version: '1.2.3', node: process.version },
  );
}

describe('AgentMetrics', () => {
  it('gives what is counted and what is read, the same at every look', async () => {
    const made = metrics();
    made.servesBy({
      counters: () => ({
        refusedCertificates: { absent: 0, expired: 2 } as never,
        failedHandshakes: 3,
        errors: { ERR_NO_PERMISSION: 4 },
      }),
    });
    made.migrations.inc({ role: 'source', result: 'succeeded' });
    made.phases.observe({ role: 'source', phase: 'hold' }, 0.003);
    made.rsyn.inc({ outcome: 'replied' }, 7);
    await made.registry.metrics();
    const lines = (await made.registry.metrics()).split('\n');
    for (const line of [
      'serval_migrations_total{role="source",result="succeeded"} 1',
      'serval_migration_phase_seconds_bucket{le="0.005",role="source",phase="hold"} 1',
      'serval_rsyn_total{outcome="replied"} 7',
      'serval_flows{state="active"} 2',
      'serval_drops_total{reason="TTL"} 3',
      'serval_drop_bytes_total{reason="TTL"} 300',
      'serval_open_migrations{role="peer"} 4',
      'serval_resource_problems_total 5',
      'serval_signalling_refused_certificates_total{fault="absent"} 0',
      'serval_signalling_refused_certificates_total{fault="expired"} 2',
      'serval_signalling_failed_handshakes_total 3',
      'serval_signalling_errors_total{code="ERR_NO_PERMISSION"} 4',
      `serval_build_info{version="1.2.3",node_version="${process.version}"} 1`,
    ])
      expect(lines).toContain(line);
    expect(lines.some((line) => line.startsWith('nodejs_eventloop_lag_seconds'))).toBe(true);
  });

  it('forgets a state that no flow has any more', async () => {
    const flows: Record<string, number> = { active: 2 };
    const made = metrics(flows);
    await made.registry.metrics();
    delete flows.active;
    expect(await made.registry.metrics()).not.toContain('serval_flows{');
  });

  it('lets two agents be in one process', async () => {
    const [one, two] = [metrics(), metrics()];
    one.held.inc(9);
    expect(await two.registry.metrics()).toContain('serval_held_packets_total 0');
  });
});

describe('the metrics server', () => {
  let server: MetricsServer | undefined;
  afterEach(() => server?.close());

  async function started(ready: Record<string, Check>, health: Record<string, Check> = {}): Promise<string> {
    const { registry } = metrics();
    server = await startMetricsServer({ address: '127.0.0.1', port: 0, registry, health, ready });
    return `http://127.0.0.1:${server.port}`;
  }

  it('answers /metrics in the text format', async () => {
    const answer = await fetch(`${await started({})}/metrics`);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await answer.text()).toContain('serval_flows{state="active"} 2');
  });

  it('names each check, and is as well as the worst of them', async () => {
    const at = await started(
      {
        datapath: () => undefined,
        signalling: () => Promise.resolve('no listener'),
        certificates: () => {
          throw new Error('expired');
        },
      },
      { loop: () => undefined },
    );
    const ready = await fetch(`${at}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([
      503,
      '[+] datapath ok\n[-] signalling no listener\n[-] certificates expired\n',
    ]);
    const health = await fetch(`${at}/healthz`);
    expect([health.status, await health.text()]).toEqual([200, '[+] loop ok\n']);
  });

  it('does not wait for a check that hangs', async () => {
    const answer = await fetch(`${await started({ hangs: () => new Promise(() => undefined) })}/readyz`);
    expect([answer.status, await answer.text()]).toEqual([503, '[-] hangs no answer within 2 s\n']);
  });

  it('refuses other paths and methods', async () => {
    const at = await started({});
    expect((await fetch(`${at}/`)).status).toBe(404);
    expect((await fetch(`${at}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405);
  });

  it('says which port is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const options = { address: '127.0.0.1', port, registry: metrics().registry, health: {}, ready: {} };
    await expect(startMetricsServer(options)).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      subject: `metrics on 127.0.0.1 port ${port}`,
    });
    other.close();
  });
});
