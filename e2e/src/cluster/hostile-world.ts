/** What hostile objects meet: pods that everything chooses, and Services of somebody else. */
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { count, inParallel } from './in-parallel.js';

const namespace = '/api/v1/namespaces/default';
export const group = '/apis/serval.io/v1alpha1/namespaces/default';
const podCount = 30;

/** Ready, on a node in a zone, labelled so that `all: yes` chooses all and `app: web` every second. */
export async function makePods(client: KubeClient): Promise<void> {
  const node = { metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'z1' } } };
  await client.request({ method: 'POST', path: '/api/v1/nodes', body: node });
  await inParallel(count(podCount), 8, async (number) => {
    const labels = { all: 'yes', app: number % 2 === 0 ? 'web' : 'db' };
    const spec = { nodeName: 'n1', containers: [{ name: 'a', image: 'a' }] };
    const body = { metadata: { name: `pod-${number}`, labels }, spec };
    await client.request({ method: 'POST', path: `${namespace}/pods`, body });
    const ip = `10.1.0.${number + 1}`;
    const conditions = [{ type: 'Ready', status: 'True' }];
    await client.request({
      method: 'PATCH',
      path: `${namespace}/pods/pod-${number}/status`,
      contentType: 'application/merge-patch+json',
      body: { status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions } },
    });
  });
}

/** Services that were there first, as strangerNames has them. */
export async function makeStrangers(client: KubeClient): Promise<void> {
  const { metadata } = await client.request<{ metadata: { uid: string } }>({ path: namespace });
  const owner = { apiVersion: 'v1', kind: 'Namespace', name: 'default', uid: metadata.uid, controller: true };
  const ports = [{ port: 7 }];
  const strangers: ReadonlyArray<[name: string, spec: object, metadata?: object]> = [
    ['owned', { ports }, { ownerReferences: [owner] }],
    ['other', { ports, selector: { app: 'theirs' } }],
    ['headless', { ports, clusterIP: 'None' }],
    ['alias', { type: 'ExternalName', externalName: 'example.com' }],
    ['same', { ports: [{ port: 80 }], selector: { app: 'web' } }],
  ];
  for (const [name, spec, more] of strangers)
    await client.request({
      method: 'POST',
      path: `${namespace}/services`,
      body: { apiVersion: 'v1', kind: 'Service', metadata: { name, ...more }, spec },
    });
}
