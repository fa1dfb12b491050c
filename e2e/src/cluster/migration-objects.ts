/** ServalMigrations of the namespace `default`, as a user makes, reads and deletes them. */
import { apiVersion, type ServalMigration } from '@serval/api';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';

export const migrations = '/apis/serval.io/v1alpha1/namespaces/default/servalmigrations';

/** Of a pod. */
export function createMigration(
  client: KubeClient,
  name: string,
  pod: string,
  spec: Partial<ServalMigration['spec']> = {},
): Promise<unknown> {
  return client.request({
    method: 'POST',
    path: migrations,
    body: {
      apiVersion,
      kind: 'ServalMigration',
      metadata: { name },
      spec: { workload: { name: pod }, ...spec },
    },
  });
}

export function readMigration(client: KubeClient, name: string): Promise<ServalMigration> {
  return client.request<ServalMigration>({ path: `${migrations}/${name}` });
}

export function deleteMigration(client: KubeClient, name: string): Promise<unknown> {
  return client.request({ method: 'DELETE', path: `${migrations}/${name}` });
}
