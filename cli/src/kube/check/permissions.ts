/** Whether whoever asks may install what the chart contains. */
import type { Cluster } from '../cluster.js';
import { fail, ok, warn, type Finding } from './finding.js';

export interface Right {
  group: string;
  resource: string;
  /** of one namespace */
  namespaced: boolean;
}

/** What charts/serval makes by default; Helm keeps its own records in Secrets. */
export const made: readonly Right[] = [
  { group: 'apiextensions.k8s.io', resource: 'customresourcedefinitions', namespaced: false },
  { group: 'rbac.authorization.k8s.io', resource: 'clusterroles', namespaced: false },
  { group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings', namespaced: false },
  { group: 'admissionregistration.k8s.io', resource: 'validatingadmissionpolicies', namespaced: false },
  { group: 'admissionregistration.k8s.io', resource: 'validatingadmissionpolicybindings', namespaced: false },
  { group: 'rbac.authorization.k8s.io', resource: 'roles', namespaced: true },
  { group: 'rbac.authorization.k8s.io', resource: 'rolebindings', namespaced: true },
  { group: 'apps', resource: 'deployments', namespaced: true },
  { group: 'apps', resource: 'daemonsets', namespaced: true },
  { group: 'policy', resource: 'poddisruptionbudgets', namespaced: true },
  { group: 'networking.k8s.io', resource: 'networkpolicies', namespaced: true },
  { group: '', resource: 'serviceaccounts', namespaced: true },
  { group: '', resource: 'services', namespaced: true },
  { group: '', resource: 'configmaps', namespaced: true },
  { group: '', resource: 'secrets', namespaced: true },
];

const verbs = ['get', 'create', 'patch', 'delete'] as const;

export async function permissionFindings(
  cluster: Cluster,
  namespace: string,
  isNamespaceThere: boolean,
): Promise<Finding[]> {
  const name = 'permissions to install';
  if (await may(cluster, { verb: '*', group: '*', resource: '*' }))
    return [ok(name, 'whoever asks may do everything')];
  const asked = made.flatMap((right) => verbs.map((verb) => ({ ...right, verb })));
  const answers = await Promise.all(
    asked.map((each) => may(cluster, { ...each, ...(each.namespaced ? { namespace } : {}) })),
  );
  const refused = new Map<string, string[]>();
  asked.forEach(({ group, resource, verb }, i) => {
    if (answers[i] === true) return;
    const key = group === '' ? resource : `${resource}.${group}`;
    refused.set(key, [...(refused.get(key) ?? []), verb]);
  });
  const lacks = [...refused].map(([resource, own]) =>
    fail(
      `${name}: ${resource}`,
      `whoever asks may not ${own.join(', ')} them`,
      'Install as a cluster administrator, or get these rights',
    ),
  );
  const more = await Promise.all([
    escalation(cluster),
    isNamespaceThere ? [] : namespaceRight(cluster, namespace),
  ]);
  const all = [...lacks, ...more.flat()];
  return lacks.length === 0 ? [ok(name, `all ${made.length} kinds of the chart may be made`), ...all] : all;
}

/** Nobody may give by a role what he has not himself. */
async function escalation(cluster: Cluster): Promise<Finding[]> {
  const group = 'rbac.authorization.k8s.io';
  const [escalate, bind] = await Promise.all(
    ['escalate', 'bind'].map((verb) => may(cluster, { verb, group, resource: 'clusterroles' })),
  );
  if (escalate && bind) return [];
  return [
    warn(
      'permissions to install: roles',
      'whoever asks may give by roles only what he may do himself (no escalate and bind on clusterroles)',
      "Hold what the chart's ClusterRoles grant, or install as a cluster administrator",
    ),
  ];
}

async function namespaceRight(cluster: Cluster, namespace: string): Promise<Finding[]> {
  if (await may(cluster, { verb: 'create', group: '', resource: 'namespaces' })) return [];
  return [
    fail(
      `permissions to install: namespace ${namespace}`,
      'it is not there, and whoever asks may not create it',
      'Have it made, or name another with -n',
    ),
  ];
}

interface Attributes {
  verb: string;
  group: string;
  resource: string;
  namespace?: string;
}

async function may(cluster: Cluster, { verb, group, resource, namespace }: Attributes): Promise<boolean> {
  const { status } = await cluster.request<{ status?: { allowed?: boolean } }>({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: {
        resourceAttributes: { verb, group, resource, ...(namespace === undefined ? {} : { namespace }) },
      },
    },
  });
  return status?.allowed === true;
}
