/** The operator's service controller on a real API server, with Kubernetes' own EndpointSlice controller. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { apiVersion, type ServalService } from '@serval/api';
import { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { labelValue, serviceLabel, startServices, type Running, type Told } from '@serval/operator';
import { requireRoot } from '../lab/processes.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const services = '/api/v1/namespaces/default/services';

interface Service {
  metadata: {
    labels?: Record<string, string>;
    ownerReferences?: Array<{ kind: string }>;
    resourceVersion: string;
  };
  spec: { clusterIPs: string[]; ports: Array<{ port: number; targetPort: number | string }> };
}

describe('the operator keeps Services', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let store: KubernetesStore;
  let running: Running;
  let told: Told[];
  const errors: unknown[] = [];

  const start = (): void => {
    running = startServices({
      client,
      store,
      tell: (one) => told.push(one),
      onError: (_, error) => errors.push(error),
      onWatchError: (error) => errors.push(error),
      refusedMs: 1_000,
    });
  };

  beforeAll(async () => {
    told = [];
    plane = await ControlPlane.start({ progress: console.log });
    client = KubeClient.load('serval-test', plane.kubeconfigFile(plane.admin()));
    await installCrds(client);
    store = await KubernetesStore.open({
      client,
      kinds: { ServalService: {}, EndpointSlice: { labelSelector: `${serviceLabel}=${labelValue}` } },
      fieldManager: 'test',
      onError: (_, error) => errors.push(error),
    });
    start();
  });
  afterAll(async () => {
    await running?.stop();
    await store?.close();
    await client?.close();
    await plane?.stop();
  });

  const declare = (name: string, spec: Partial<ServalService['spec']> = {}): Promise<ServalService> =>
    store.apply<'ServalService'>({
      apiVersion,
      kind: 'ServalService',
      metadata: { name, namespace: 'default' },
      spec: { selector: { app: name }, ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    });
  const read = (name: string): Promise<Service> => client.request<Service>({ path: `${services}/${name}` });
  const make = (name: string, spec: object, metadata: object = {}): Promise<Service> =>
    client.request<Service>({
      method: 'POST',
      path: services,
      body: { apiVersion: 'v1', kind: 'Service', metadata: { name, ...metadata }, spec },
    });

  /** By somebody who is there for good: what belongs to nobody Kubernetes takes away. */
  async function owned(): Promise<object> {
    const namespace = await client.request<{ metadata: { uid: string } }>({
      path: '/api/v1/namespaces/default',
    });
    const owner = { apiVersion: 'v1', kind: 'Namespace', name: 'default', controller: true };
    return { ownerReferences: [{ ...owner, uid: namespace.metadata.uid }] };
  }

  /** Until the condition Ready says this. */
  async function says(name: string, reason: string): Promise<NonNullable<ServalService['status']>> {
    for (const end = performance.now() + 20_000; ; await delay(20)) {
      const { status } = store.get('ServalService', `default/${name}`) ?? {};
      if (status?.conditions?.[0]?.reason === reason) return status;
      if (performance.now() > end) throw new Error(`${name} says ${JSON.stringify(status)}, not ${reason}`);
    }
  }

  async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    for (const end = performance.now() + 20_000; !(await holds()); await delay(20))
      if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
  }

  async function startPod(name: string, app: string, address: string): Promise<void> {
    const pods = '/api/v1/namespaces/default/pods';
    const spec = { nodeName: 'n1', containers: [{ name: 'a', image: 'a' }] };
    await client.request({ method: 'POST', path: pods, body: { metadata: { name, labels: { app } }, spec } });
    await client.request({
      method: 'PATCH',
      path: `${pods}/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: {
        status: {
          phase: 'Running',
          podIP: address,
          podIPs: [{ ip: address }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      },
    });
  }

  it('makes one, whose virtual IPs and replicas the status tells', async () => {
    await declare('web', { ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }] });
    await says('web', 'NoReplicas');
    const zone = 'zone-a';
    const node = { metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': zone } } };
    await client.request({ method: 'POST', path: '/api/v1/nodes', body: node });
    await startPod('web-1', 'web', '10.1.2.3');
    const status = await says('web', 'Serving');
    const { spec, metadata } = await read('web');
    expect(status).toMatchObject({ virtualIPs: spec.clusterIPs, replicas: 1, readyReplicas: 1 });
    expect(status.zones).toEqual([{ zone, replicas: 1, readyReplicas: 1, weight: 1_000 }]);
    expect(spec.clusterIPs).toHaveLength(2);
    expect(spec.ports[0]).toMatchObject({ port: 80, targetPort: 8080 });
    expect(metadata).toMatchObject({
      labels: { [serviceLabel]: 'true' },
      ownerReferences: [{ kind: 'ServalService' }],
    });
    expect(told).toMatchObject([{ type: 'Normal', reason: 'Created' }]);
  });

  it('mends it when somebody else changed it, and follows a changed ServalService', async () => {
    const path = `${services}/web`;
    const contentType = 'application/merge-patch+json';
    await client.request({ method: 'PATCH', path, contentType, body: { spec: { selector: { app: 'x' } } } });
    await until('it is mended', async () =>
      JSON.stringify(await read('web')).includes('"selector":{"app":"web"}'),
    );
    await declare('web', { ports: [{ port: 81, protocol: 'TCP' }] });
    await until('it has the other port', async () => (await read('web')).spec.ports[0]?.port === 81);
  });

  it('adopts one that was there by a label, and takes only that away again', async () => {
    const { spec } = await make('old', {
      selector: { app: 'old' },
      ports: [{ port: 80, targetPort: 'http' }],
    });
    await declare('old');
    const status = await says('old', 'NoReplicas');
    expect(status.virtualIPs).toEqual(spec.clusterIPs);
    expect((await read('old')).spec.ports[0]?.targetPort).toBe('http');
    await store.delete('ServalService', 'default/old');
    await until(
      'the label is gone',
      async () => (await read('old')).metadata.labels?.[serviceLabel] === undefined,
    );
    expect((await read('old')).spec).toEqual(spec);
  });

  it.each<[string, object, boolean, string]>([
    [
      'another controller has',
      { ports: [{ port: 80 }], selector: { app: 'taken' } },
      true,
      'ManagedByAnother',
    ],
    ['says otherwise', { ports: [{ port: 8080 }], selector: { app: 'taken' } }, false, 'ServiceDiffers'],
    [
      'is headless',
      { clusterIP: 'None', ports: [{ port: 80 }], selector: { app: 'taken' } },
      false,
      'NoVirtualIP',
    ],
  ])('does not touch the spec of one that %s, and says why', async (_, spec, isOwned, reason) => {
    const before = await make('taken', spec, isOwned ? await owned() : {});
    await declare('taken');
    const status = await says('taken', reason);
    expect(status.virtualIPs).toEqual([]);
    expect((await read('taken')).spec).toEqual(before.spec);
    expect(told.at(-1)).toMatchObject({ type: 'Warning', reason });
    await store.delete('ServalService', 'default/taken');
    await client.request({ method: 'DELETE', path: `${services}/taken` });
    await until('it is gone', async () =>
      read('taken').then(
        () => false,
        () => true,
      ),
    );
  });

  it('says of two that want one virtual IP which was refused', async () => {
    await declare('first', { virtualIPs: ['10.96.77.77'] });
    await says('first', 'NoReplicas');
    await declare('second', { virtualIPs: ['10.96.77.77'] });
    const { conditions } = await says('second', 'ServiceRefused');
    expect(conditions?.[0]?.message).toMatch(/10\.96\.77\.77.*already allocated/);
  });

  it('makes what was refused once what was in its way is gone', async () => {
    await store.delete('ServalService', 'default/first');
    // The garbage collector would, as soon as it has learned of our kinds, every 30 s.
    await client.request({ method: 'DELETE', path: `${services}/first` });
    const { virtualIPs } = await says('second', 'NoReplicas');
    expect(virtualIPs).toContain('10.96.77.77');
  });

  it('says which quota keeps a Service from being made, and makes it when that is gone', async () => {
    const quotas = '/api/v1/namespaces/default/resourcequotas';
    const body = { metadata: { name: 'few' }, spec: { hard: { 'count/services': '1' } } };
    await client.request({ method: 'POST', path: quotas, body });
    await until('the quota counts', async () =>
      JSON.stringify(await client.request({ path: `${quotas}/few` })).includes('"used":{"count/services"'),
    );
    await declare('many');
    const { conditions } = await says('many', 'ServiceRefused');
    expect(conditions?.[0]?.message).toMatch(/exceeded quota: few.*see which quota/);
    await client.request({ method: 'DELETE', path: `${quotas}/few` });
    await says('many', 'NoReplicas');
  });

  it('does what happened while it was away, once it is back, and nothing twice', async () => {
    await running.stop();
    await declare('late');
    await make(
      'stray',
      { selector: { app: 's' }, ports: [{ port: 80 }] },
      { labels: { [serviceLabel]: 'true' } },
    );
    await store.delete('ServalService', 'default/many');
    start();
    await says('late', 'NoReplicas');
    await until(
      'the label is gone',
      async () => (await read('stray')).metadata.labels?.[serviceLabel] === undefined,
    );
    await running.idle();
    const versions = (): unknown[] =>
      ['web', 'late', 'second'].map((name) => store.get('ServalService', `default/${name}`));
    const before = versions();
    await delay(500);
    expect(versions()).toEqual(before);
  });

  it('failed at nothing meanwhile', () => {
    expect(errors).toEqual([]);
  });
});
