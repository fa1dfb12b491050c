/** The API server: how it is started, and when it is ready. */
import { join } from 'node:path';
import type { KeyPairFiles } from './certificates.js';
import type { Daemons } from './daemons.js';
import type { KubeUser } from './kubeconfig.js';
import { loopback } from './ports.js';
import { askKubeText } from './request.js';

/** Its name among the daemons. */
export const apiServer = 'kube-apiserver';

export interface ApiServerSetup {
  /** the program */
  program: string;
  etcdUrl: string;
  /** the authority by whose certificates users are known */
  ca: string;
  serving: KeyPairFiles;
  /** of service accounts */
  accountOptions: readonly string[];
  /** come last: of an option that has one value, the last counts */
  more: readonly string[];
}

/** What its certificate names. */
export const servingNames = [
  `IP:${loopback}`,
  ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map((name) => `DNS:${name}`),
];

/** Resolves when it is ready, its own roles and all. @throws ServalError as Daemon.ready does */
export async function startApiServer(
  daemons: Daemons,
  setup: ApiServerSetup,
  admin: KubeUser,
): Promise<void> {
  const own = [
    `--secure-port=${new URL(admin.server).port}`,
    `--cert-dir=${join(daemons.folder, 'kube-apiserver')}`,
  ];
  const daemon = daemons.start(apiServer, [setup.program, ...own, ...options(setup)]);
  await daemon.ready((signal) => askKubeText(admin, 'GET', '/readyz', { signal }));
}

function options(setup: ApiServerSetup): string[] {
  return [
    `--etcd-servers=${setup.etcdUrl}`,
    `--bind-address=${loopback}`,
    // Only named in the API, where loopback is refused; nobody goes there.
    '--advertise-address=192.0.2.1',
    '--endpoint-reconciler-type=none',
    `--tls-cert-file=${setup.serving.cert}`,
    `--tls-private-key-file=${setup.serving.key}`,
    `--client-ca-file=${setup.ca}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    // As in every cluster that runs a CNI plugin.
    '--allow-privileged=true',
    '--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112',
    // Without, it waits for open watches for 60 s before it ends.
    '--shutdown-watch-termination-grace-period=1s',
    ...setup.accountOptions,
    ...setup.more,
  ];
}
