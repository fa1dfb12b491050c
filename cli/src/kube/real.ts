/** A cluster by the client library. Nothing but open.ts imports this, and that only when it is needed. */
import { ServalError } from '@serval/api';
import { KubeClient, Reflector, crds, execInPod, loadContext } from '@serval/kube-runtime/kubernetes';
import type { Cluster, ClusterOptions, WatchOptions } from './cluster.js';

/** A person waits: a lost watch is tried again soon. */
const watchTimes = { firstWaitMs: 250, mostWaitMs: 3_000, silentMs: 90_000 };

export function connect(options: ClusterOptions, version: string): Cluster {
  const { config, server, name, namespace, known } = loadContext(options);
  const client = new KubeClient(config, `kubectl-serval/${version}`);
  const told = <Value>(answer: Promise<Value>): Promise<Value> =>
    answer.catch((error: unknown) => {
      throw named(error, server, name);
    });
  return {
    namespace: options.namespace ?? namespace,
    context: name,
    contexts: known,
    server,
    ownCrds: crds,
    request: (request) => told(client.request(request)),
    lines: (request) => client.lines(request),
    watch: ({ path, fieldSelector, onChange, onError }: WatchOptions) => {
      const selector = fieldSelector === undefined ? {} : { fieldSelector };
      const reflector = new Reflector({ client, path, ...selector, onChange, onError, times: watchTimes });
      return { begun: reflector.start(), stop: () => reflector.stop() };
    },
    exec: (request) => execInPod(config, request),
    close: () => client.close(),
  };
}

/** Which API server it was: kubeconfigs name many. */
function named(error: unknown, server: string, context: string): unknown {
  if (!(error instanceof ServalError)) return error;
  const { code, reason, details } = error;
  if (code !== 'ERR_UNREACHABLE' && code !== 'ERR_TIMEOUT') return error;
  return new ServalError(code, {
    subject: `API server at ${server}${context === '' ? '' : ` (context ${context})`}`,
    reason,
    remedy:
      'See whether it runs and can be reached from here, or choose another with --context or --kubeconfig',
    details,
    cause: error,
  });
}
