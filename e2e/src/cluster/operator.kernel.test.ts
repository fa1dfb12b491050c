/** The operator as a program, two of it, on a real API server. */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion } from '@serval/api';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { leaseName, operatorProgram } from '@serval/operator';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { freePorts, loopback } from './ports.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const services = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';
const lease = `/apis/coordination.k8s.io/v1/namespaces/default/leases/${leaseName}`;

interface OperatorProcess {
  name: string;
  port: number;
  child: ChildProcess;
  words: () => string;
}

describe('the operator', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let kubeconfig: string;
  const running: OperatorProcess[] = [];

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    await installCrds(client);
  });
  afterEach(async () => {
    for (const { child } of running.splice(0)) await end(child, 'SIGKILL');
  });
  afterAll(async () => {
    await client?.close();
    await plane?.stop();
  });

  async function start(name: string, ...more: string[]): Promise<OperatorProcess> {
    const [port = 0] = await freePorts(1);
    const own = ['--kubeconfig', kubeconfig, '--lease-namespace', 'default', '--identity', name];
    const where = ['--metrics-address', loopback, '--metrics-port', String(port)];
    const child = spawn(process.execPath, [operatorProgram, ...own, ...where, ...more]);
    let words = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (words += text));
    const operator = { name, port, child, words: () => words };
    running.push(operator);
    return operator;
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    }
    return child.exitCode;
  }

  /** What it holds after at most so many ms; what kept it from holding, else. */
  async function within<Value>(
    ms: number,
    what: string,
    ask: () => Promise<Value | undefined>,
  ): Promise<Value> {
    let last: unknown;
    for (const until = performance.now() + ms; performance.now() < until; await delay(20)) {
      const found = await ask().catch((error: unknown) => void (last = error));
      if (found !== undefined) return found;
    }
    throw new Error(
      `not within ${ms} ms: ${what} (${String(last)})\n${running.map((one) => one.words()).join('\n')}`,
    );
  }

  async function holder(): Promise<string> {
    const { spec } = await client.request<{ spec: { holderIdentity?: string } }>({ path: lease });
    return spec.holderIdentity ?? '';
  }
  const leads = async ({ name }: OperatorProcess): Promise<true | undefined> =>
    (await holder()).startsWith(`${name}-`) || undefined;
  const page = async ({ port }: OperatorProcess, path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://${loopback}:${port}${path}`);
    return { status: response.status, text: await response.text() };
  };
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
    await end(one.child, 'SIGKILL');
    await declare('between');
    await within(15_000, 'the second made it', () => hasService('between'));
    console.log(`the other took over after ${Math.round(performance.now() - killed)} ms`);
    expect(await leads(two)).toBe(true);
  });

  it('gives the lease up when it is told to end', async () => {
    const one = await start('one');
    await within(20_000, 'it leads', () => leads(one));
    expect(await end(one.child, 'SIGTERM')).toBe(0);
    expect(await holder()).toBe('');
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
    await end(taken.child, 'SIGKILL');
    await new Promise<void>((resolve) => server.listen(taken.port, loopback, resolve));
    const refused = await start('three', '--metrics-port', String(taken.port));
    await once(refused.child, 'exit');
    expect(refused.child.exitCode).toBe(1);
    expect(refused.words()).toMatch(/something else listens there/);
    server.close();
  });
});
