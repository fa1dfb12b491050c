/** The signer at work: its copies of requests, its queue, its authority, its end. */
import { signerName, WorkQueue, type Outcome, type Work } from '@serval/kube-runtime';
import { Reflector, type EventObject, type KubeClient } from '@serval/kube-runtime/kubernetes';
import type { Running } from '../running.js';
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

export interface CertificateRunnerOptions {
  client: KubeClient;
  /** of the authority's Secret and ConfigMap */
  namespace: string;
  account: AgentAccount;
  times: AuthorityTimes;
  tell: (told: ToldOfCertificate) => void;
  onError: (what: string, error: unknown) => void;
  onWatchError: (error: unknown) => void;
  onDecided: (decision: Decision) => void;
  onWorked?: (work: Work) => void;
}

export interface RunningCertificates extends Omit<Running, 'idle'> {
  /** when the authority that signs ends, ms since 1970; undefined: not known yet */
  authorityUntil(): number | undefined;
}

const concurrency = 8;
/** Names of requests can't have a slash. */
const authorityKey = 'the/authority';
/** How often it is looked whether the authority's Secret and ConfigMap are as they should be, at least. */
const lookMs = 60_000;

/** Begins at once with the authority, and with the requests as soon as they are listed. */
export function startCertificates(options: CertificateRunnerOptions): RunningCertificates {
  const { client, onError, onWatchError, onWorked } = options;
  const keeper = keeperOf(options);
  const requests = new Reflector({
    client,
    path: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    // Of no other signer's anything is even known here.
    fieldSelector: `spec.signerName=${signerName}`,
    onChange: ({ type, object }) => {
      if (type !== 'deleted') queue.add(object.metadata.name);
    },
    onError: onWatchError,
  });
  const controller = controllerOf(options, requests, keeper);
  const queue = new WorkQueue({
    concurrency,
    reconcile: async (key): Promise<Outcome> => {
      if (key !== authorityKey) return controller.reconcile(key);
      await keeper.keep();
      return { requeueAfterMs: lookAgainMs(options.times) };
    },
    onError: (key, error) => onError(key === authorityKey ? key : `CertificateSigningRequest ${key}`, error),
    // An authority that can not be kept is looked at again within a minute, too.
    retries: { mostMs: lookMs },
    ...(onWorked === undefined ? {} : { onWorked }),
  });
  queue.add(authorityKey);
  const started = requests.start();
  return {
    depth: () => queue.depth,
    longestRunMs: () => queue.longestRunMs(),
    authorityUntil: () => keeper.current?.until,
    stop: async () => {
      await requests.stop();
      await started;
      await queue.stop();
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
