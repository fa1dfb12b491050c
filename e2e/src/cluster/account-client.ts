/** Clients with the tokens of service accounts, as pods have them: bound to the pod, and so to its node. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import type { ControlPlane } from './control-plane.js';

export interface Account {
  namespace: string;
  name: string;
  /** of a pod that is made for the token; without, it is bound to none */
  node?: string;
}

/**
 * Writes a kubeconfig for this account; returns its path, which lasts as long as the control plane.
 * @param admin may make pods and tokens
 */
export async function accountKubeconfig(
  plane: ControlPlane,
  admin: KubeClient,
  account: Account,
): Promise<string> {
  const token = await accountToken(admin, account);
  const { server, ca } = plane.admin();
  const file = join(plane.folder, `${account.name}-${account.node ?? 'any'}.kubeconfig`);
  const cluster = { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'a', cluster }],
    users: [{ name: 'a', user: { token } }],
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    'current-context': 'a',
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** @param admin may make pods and tokens */
export async function accountToken(admin: KubeClient, account: Account): Promise<string> {
  const { status } = await admin.request<{ status: { token: string } }>({
    method: 'POST',
    path: `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: account.node === undefined ? {} : { boundObjectRef: await makePod(admin, account) },
    },
  });
  return status.token;
}

/** @param admin may make pods and tokens */
export async function accountClient(
  plane: ControlPlane,
  admin: KubeClient,
  account: Account,
): Promise<KubeClient> {
  return KubeClient.load('serval-test', await accountKubeconfig(plane, admin, account));
}

/** An object is enough: nobody has to run it. */
async function makePod(admin: KubeClient, { namespace, name, node }: Account): Promise<object> {
  const { metadata } = await admin.request<{ metadata: { name: string; uid: string } }>({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/pods`,
    body: {
      metadata: { generateName: 'account-' },
      spec: { nodeName: node, serviceAccountName: name, containers: [{ name: 'a', image: 'a' }] },
    },
  });
  return { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid };
}
