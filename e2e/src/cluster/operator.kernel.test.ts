/** The operator as a program, two of it, on a real API server. */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion } from '@serval/api';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import type { OperatorProcess } from './operator-process.js';
import { OperatorProcesses } from './operator-processes.js';
import { loopback } from './ports.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const services = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';

describe('the operator', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let kubeconfig: string;
  let operators: OperatorProcesses;

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    await installCrds(client);
    operators = new OperatorProcesses(client, kubeconfig);
  });
  afterEach(() => operators.endAll('SIGKILL'));
  afterAll(async () => {
    await client?.close();
    await plane?.stop();
  });

  const start = (name: string, ...more: string[]): Promise<OperatorProcess> => operators.start(name, ...more);
  const within = <Value>(ms: number, what: string, ask: () => Promise<Value | undefined>): Promise<Value> =>
    operators.within(ms, what, ask);
  const leads = (one: OperatorProcess): Promise<true | undefined> => operators.leads(one);
  const page = (one: OperatorProcess, path: string): Promise<{ status: number; text: string }> =>
    one.page(path);
  const declare = (name: string): Promise<unknown> =>
    client.request({
      method: 'POST',
      path: services,
      body: { apiVersion, kind: 'ServalService', metadata: { name }, spec: { ports: [{ port: 80 }] } },
    });
  const hasService = (name: string): Promise<true | undefined> =>
    client.request({ path: `/api/v1/namespaces/default/services/${name}` }).then(() => true);

  it('leads, makes what is declared, tells it by Events, and says so in its metrics', async () => {
    const operator = await start('one');
    await within(20_000, 'it leads', () => leads(operator));
    await declare('first');
    await within(5_000, 'its Service is there', () => hasService('first'));
    expect((await page(operator, '/readyz')).status).toBe(200);
    expect((await page(operator, '/healthz')).status).toBe(200);
    const metrics = await within(5_000, 'it is counted', async () => {
      const { text } = await page(operator, '/metrics');
      return /serval_operator_reconcile_seconds_count\{controller="services"\} [1-9]/.test(text)
        ? text
        : undefined;
    });
    expect(metrics).toMatch(/^serval_operator_leader 1$/m);
    expect(metrics).toMatch(/^serval_operator_queue_depth\{controller="services"\} 0$/m);
    const events = '/apis/events.k8s.io/v1/namespaces/default/events';
    await within(5_000, 'an Event tells it', async () => {
      const { items } = await client.request<{
        items: Array<{ reason: string; regarding: { name: string } }>;
      }>({ path: events });
      return items.find(({ reason, regarding }) => reason === 'Created' && regarding.name === 'first');
    });
  });

  it('is followed by the other when it is killed, within 15 s, and nothing is lost in between', async () => {
    const one = await start('one');
    await within(20_000, 'the first leads', () => leads(one));
    const two = await start('two');
    await within(
      20_000,
      'the second is ready',
      async () => (await page(two, '/readyz')).status === 200 || undefined,
    );
    expect((await page(two, '/metrics')).text).toMatch(/^serval_operator_leader 0$/m);
    const killed = performance.now();
    await one.end('SIGKILL');
    await declare('between');
    await within(15_000, 'the second made it', () => hasService('between'));
    console.log(`the other took over after ${Math.round(performance.now() - killed)} ms`);
    expect(await leads(two)).toBe(true);
  });

  it('gives the lease up when it is told to end', async () => {
    const one = await start('one');
    await within(20_000, 'it leads', () => leads(one));
    expect(await one.end('SIGTERM')).toBe(0);
    expect(await operators.holder()).toBe('');
  });

  it('waits for an API server that is gone, and goes on when it is back', async () => {
    const one = await start('one');
    await within(20_000, 'it leads', () => leads(one));
    await plane.killApiServer();
    // Longer than it leads without a renewal.
    await delay(9_000);
    expect(one.child.exitCode).toBeNull();
    expect((await page(one, '/healthz')).status).toBe(200);
    expect((await page(one, '/metrics')).text).toMatch(/^serval_operator_leader 0$/m);
    await plane.startApiServer();
    await declare('afterwards');
    await within(40_000, 'it has made it', () => hasService('afterwards'));
  });

  it('says what is wrong with how it was called', async () => {
    const wrong = await start('one', '--metrics-port', '99999');
    await once(wrong.child, 'exit');
    expect(wrong.child.exitCode).toBe(2);
    expect(wrong.words()).toMatch(/from 0 to 65535/);
    const server = createServer();
    const taken = await start('two');
    await taken.end('SIGKILL');
    await new Promise<void>((resolve) => server.listen(taken.port, loopback, resolve));
    const refused = await start('three', '--metrics-port', String(taken.port));
    await once(refused.child, 'exit');
    expect(refused.child.exitCode).toBe(1);
    expect(refused.words()).toMatch(/something else listens there/);
    server.close();
  });
});
