/** Where the operator and the agents are: by the labels that the chart gives them. */
import { isForbidden, list, paths, type Cluster, type Selectors } from './cluster.js';
import type { Pod, Workload } from './types.js';

export type Component = 'operator' | 'agent';

/** Where the chart's notes say to install it; looked into where all namespaces may not be. */
export const usualNamespace = 'serval-system';

export const leaseName = 'serval-operator';

export function labelsOf(component: Component): string {
  return `app.kubernetes.io/name=serval,app.kubernetes.io/component=${component}`;
}

export function podsOf(cluster: Cluster, component: Component, node?: string): Promise<Pod[]> {
  const onNode = node === undefined ? {} : { fieldSelector: `spec.nodeName=${node}` };
  return anywhere<Pod>(cluster, paths.pods, { labelSelector: labelsOf(component), ...onNode });
}

/** The operator's Deployment, the agents' DaemonSet; more than one where it was installed twice. */
export function workloadsOf(cluster: Cluster, component: Component): Promise<Workload[]> {
  const path = component === 'operator' ? paths.deployments : paths.daemonSets;
  return anywhere<Workload>(cluster, path, { labelSelector: labelsOf(component) });
}

/** In all namespaces; in the usual one where only that is allowed. @throws ServalError where not even that is */
export async function anywhere<Item>(
  cluster: Cluster,
  path: (namespace?: string) => string,
  selectors: Selectors,
): Promise<Item[]> {
  try {
    return await list<Item>(cluster, path(), selectors);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    return list<Item>(cluster, path(usualNamespace), selectors);
  }
}

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') ?? false;
}

/** Why a pod is not ready, in words. */
export function troubleOf({ status }: Pod): string {
  const waiting = status?.containerStatuses?.map(({ state }) => state?.waiting).find((each) => each?.reason);
  if (waiting !== undefined) return [waiting.reason, waiting.message].filter(Boolean).join(': ');
  const failing = status?.conditions?.find((each) => each.status !== 'True' && (each.message ?? '') !== '');
  return failing?.message ?? `its phase is ${status?.phase ?? 'not known'}`;
}

/** Which version an image is: its tag; empty where it is named by its digest alone. */
export function versionOf(image: string): string {
  const [name = ''] = image.split('@');
  const tag = name.slice(name.lastIndexOf('/') + 1).split(':')[1];
  return tag ?? '';
}
