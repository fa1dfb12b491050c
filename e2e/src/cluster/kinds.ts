/** What kinds an API server knows, as its discovery tells. */
import type { KubeClient } from '@serval/kube-runtime/kubernetes';

export interface Thing {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
}

export interface Kind {
  /** beginning with a slash: of the group and its version */
  path: string;
  apiVersion: string;
  name: string;
  kind: string;
  namespaced: boolean;
  verbs: string[];
}

export async function kindsOf(client: KubeClient): Promise<Kind[]> {
  const { groups } = await client.request<{
    groups: Array<{ preferredVersion: { groupVersion: string } }>;
  }>({ path: '/apis' });
  const versions = groups.map(({ preferredVersion }) => preferredVersion.groupVersion);
  const found = ['v1', ...versions].map(async (apiVersion): Promise<Kind[]> => {
    const path = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`;
    const { resources } = await client.request<{ resources: Array<Omit<Kind, 'path' | 'apiVersion'>> }>({
      path,
    });
    return resources.map((each) => ({ ...each, path, apiVersion }));
  });
  return (await Promise.all(found)).flat();
}

/** Where this one is, in this namespace where it has one and names none. @throws where there is no such kind */
export function pathOf(kinds: readonly Kind[], thing: Thing, namespace: string): string {
  const kind = kinds.find(
    (each) => each.kind === thing.kind && each.apiVersion === thing.apiVersion && !each.name.includes('/'),
  );
  if (kind === undefined) throw new Error(`the API server has no ${thing.kind} of ${thing.apiVersion}`);
  const folder = kind.namespaced ? `namespaces/${thing.metadata.namespace ?? namespace}/` : '';
  return `${kind.path}/${folder}${kind.name}/${thing.metadata.name}`;
}

/** All things, of whatever kind and wherever, that have this label: as `Kind name`. */
export async function labelled(client: KubeClient, labelSelector: string): Promise<string[]> {
  const kinds = (await kindsOf(client)).filter(({ verbs }) => verbs.includes('list'));
  const found = kinds.map(async ({ path, name, kind }) => {
    const { items } = await client.request<{ items: Thing[] }>({
      path: `${path}/${name}`,
      query: { labelSelector },
    });
    return items.map(({ metadata }) => `${kind} ${metadata.name}`);
  });
  return (await Promise.all(found)).flat();
}
