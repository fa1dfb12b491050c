/** Kubernetes itself. Apart from the rest: the client library takes 90 MB, which a host without Kubernetes should not pay. */
export { KubeClient, type KubeRequest } from './client.js';
export { Reflector, keyOf, type KubeObject, type ObjectChange, type ReflectorTimes } from './reflector.js';
export { answerError, statusOf } from './errors.js';
export { loadContext, type ContextOptions, type KubeContext } from './context.js';
export { execInPod, type ExecRequest, type ExecResult } from './exec.js';
export { crds } from '../crds.generated.js';
export { KubernetesStore, type KubeKind, type KubernetesOptions, type MetadataPatch } from './store.js';
export { LeaderElection, type LeaderOptions, type LossReason } from './lease.js';
export { Events, defaultLimits, type EventCounts, type EventLimits, type EventsOptions } from './events.js';
export type { EventObject, Occurrence, Reporter } from './event-rules.js';
export { Backoff, type BackoffOptions } from './backoff.js';
