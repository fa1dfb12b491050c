/** The signer at work: its copies of requests, its queue, its authority, its end. */
import { signerName } from '@serval/kube-runtime';
import {
  Reflector,
  type EventObject,
  type KubeClient,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';
import { startController, type Callbacks, type Running } from '../running.js';
import { AuthorityKeeper } from './authority.js';
import type { AuthorityTimes } from './authority-plan.js';
import { RequestController, type Decision } from './controller.js';
import type { AgentAccount } from './rules.js';

export interface ToldOfCertificate {
  object: EventObject;
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export interface CertificateRunnerOptions extends Callbacks {
  client: KubeClient;
  /** of the authority's Secret and ConfigMap */
  namespace: string;
  account: AgentAccount;
  times: AuthorityTimes;
  tell: (told: ToldOfCertificate) => void;
  onWatchError: (error: unknown) => void;
  onDecided: (decision: Decision) => void;
}

export interface RunningCertificates extends Omit<Running, 'idle'> {
  /** when the authority that signs ends, ms since 1970; undefined: not known yet */
  authorityUntil(): number | undefined;
}

/** How often it is looked whether the authority's Secret and ConfigMap are as they should be, at least. */
const lookMs = 60_000;
/** What can not be done is tried again within a minute. */
const retries = { mostMs: lookMs };

/** Begins at once with the authority, and with the requests as soon as they are listed. */
export function startCertificates(options: CertificateRunnerOptions): RunningCertificates {
  const { client, times, onWatchError, onError, onWorked } = options;
  const common = { onError, retries, ...(onWorked === undefined ? {} : { onWorked }) };
  const keeper = keeperOf(options);
  const authority = startController({
    ...common,
    kind: 'authority',
    concurrency: 1,
    reconcile: async () => {
      await keeper.keep();
      return { requeueAfterMs: lookAgainMs(times) };
    },
    follow: (look) => {
      look(signerName);
      return () => undefined;
    },
  });
  let changed: (change: ObjectChange) => void = () => undefined;
  const requests = new Reflector({
    client,
    path: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    // Of no other signer's anything is even known here.
    fieldSelector: `spec.signerName=${signerName}`,
    onChange: (change) => changed(change),
    onError: onWatchError,
  });
  const controller = controllerOf(options, requests, keeper);
  const signing = startController({
    ...common,
    kind: 'CertificateSigningRequest',
    concurrency: 8,
    ready: requests.start(),
    reconcile: (key) => controller.reconcile(key),
    follow: (look) => {
      changed = ({ type, object }) => {
        if (type !== 'deleted') look(object.metadata.name);
      };
      for (const object of requests.values()) changed({ type: 'added', object });
      return () => (changed = () => undefined);
    },
  });
  return {
    depth: () => authority.depth() + signing.depth(),
    longestRunMs: () => Math.max(authority.longestRunMs(), signing.longestRunMs()),
    authorityUntil: () => keeper.current?.until,
    stop: async () => {
      await requests.stop();
      await Promise.all([authority.stop(), signing.stop()]);
    },
  };
}

function keeperOf({ client, namespace, times, tell }: CertificateRunnerOptions): AuthorityKeeper {
  return new AuthorityKeeper({
    client,
    namespace,
    times,
    tell: ({ secret: { metadata }, reason, message }) => {
      const { name, uid } = metadata;
      tell({
        object: { apiVersion: 'v1', kind: 'Secret', name, namespace, uid },
        type: 'Normal',
        reason,
        message,
      });
    },
  });
}

function controllerOf(
  { client, account, times, tell, onDecided }: CertificateRunnerOptions,
  requests: Reflector,
  keeper: AuthorityKeeper,
): RequestController {
  const { certificateMs } = times;
  return new RequestController({
    client,
    requests,
    policy: { account, certificateMs },
    authority: () => keeper.current,
    tell: ({ request: { metadata }, ...rest }) => {
      const { name, uid } = metadata;
      const object = { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', name, uid };
      tell({ object, ...rest });
    },
    decided: onDecided,
  });
}

/** Often enough for the shortest of the times. */
function lookAgainMs({ lifeMs, noticeMs, certificateMs }: AuthorityTimes): number {
  return Math.min(lookMs, Math.max(100, Math.min(lifeMs, noticeMs, certificateMs) / 4));
}
