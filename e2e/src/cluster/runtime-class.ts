/** What a pod that waits for a workload names. Who runs the pods of a test holds their containers back by itself. */
import type { KubeClient } from '@serval/kube-runtime/kubernetes';

export async function makeRuntimeClass(client: KubeClient): Promise<void> {
  await client.request({
    method: 'POST',
    path: '/apis/node.k8s.io/v1/runtimeclasses',
    body: {
      apiVersion: 'node.k8s.io/v1',
      kind: 'RuntimeClass',
      metadata: { name: 'serval' },
      handler: 'serval',
    },
  });
}
