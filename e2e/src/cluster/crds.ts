/** The CRDs of crds/, installed as they stand there. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '@serval/kube-runtime/kubernetes';
import { parse } from 'yaml';

const folder = new URL('../../../crds/', import.meta.url);
const collection = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

interface Crd {
  metadata: { name: string };
  status?: { conditions?: Array<{ type: string; status: string }> };
}

/** Resolves when the API server serves them. @throws ServalError where it refuses one */
export async function installCrds(client: KubeClient): Promise<void> {
  for (const file of readdirSync(folder)) {
    const crd = parse(readFileSync(new URL(file, folder), 'utf8')) as Crd;
    const path = `${collection}/${crd.metadata.name}`;
    await client.request({
      method: 'PATCH',
      path,
      query: { fieldManager: 'serval-test', force: true, fieldValidation: 'Strict' },
      contentType: 'application/apply-patch+yaml',
      body: crd,
    });
    while (!isEstablished(await client.request<Crd>({ path }))) await delay(50);
  }
}

function isEstablished({ status }: Crd): boolean {
  return status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True') ?? false;
}
