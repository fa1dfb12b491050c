/** The controller manager: how it is started, and when its work can be relied on. */
import type { KeyPairFiles } from './certificates.js';
import type { Daemons } from './daemons.js';
import type { KubeUser } from './kubeconfig.js';
import { askKubeText } from './request.js';

export interface ControllerManagerSetup {
  /** the program */
  program: string;
  kubeconfig: string;
  /** what it signs certificates with */
  authority: KeyPairFiles;
  /** private key of service accounts */
  accountKey: string;
  /** come last: of an option that has one value, the last counts */
  more: readonly string[];
}

/** Resolves when pods can be made, which need the account that it makes. @throws ServalError as Daemon.ready does */
export async function startControllerManager(
  daemons: Daemons,
  setup: ControllerManagerSetup,
  admin: KubeUser,
): Promise<void> {
  const account = '/api/v1/namespaces/default/serviceaccounts/default';
  const daemon = daemons.start('kube-controller-manager', [setup.program, ...options(setup)]);
  await daemon.ready((signal) => askKubeText(admin, 'GET', account, { signal }));
}

function options({ kubeconfig, authority, accountKey, more }: ControllerManagerSetup): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    // Nobody asks it anything.
    '--secure-port=0',
    '--leader-elect=false',
    '--use-service-account-credentials=true',
    `--service-account-private-key-file=${accountKey}`,
    `--root-ca-file=${authority.cert}`,
    `--cluster-signing-cert-file=${authority.cert}`,
    `--cluster-signing-key-file=${authority.key}`,
    // With 20 a second, the default, its controllers wait for their accounts while they start.
    '--kube-api-qps=500',
    '--kube-api-burst=1000',
    ...more,
  ];
}
