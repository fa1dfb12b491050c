/** Where resources are, and how to read and write them. */
export type * from './store.js';
export { DirectoryStore, type DirectoryOptions } from './directory.js';
export { NodeDirectory, type HostDirectory } from './nodes.js';
export { compile, type FieldProblem, type Validator } from './validate.js';
export {
  WorkQueue,
  defaultRetries,
  type Outcome,
  type RetryOptions,
  type Work,
  type WorkQueueOptions,
} from './work-queue.js';
export { systemClock, type Clock } from './clock.js';
export { logLevels, makeLog, type LogLevel, type Logger, type LogOptions } from './log.js';
export {
  runChecks,
  startMetricsServer,
  type Check,
  type MetricsServer,
  type MetricsServerOptions,
} from './metrics-server.js';
export {
  authoritiesKey,
  authoritiesName,
  certificateBlocks,
  certifiedNode,
  isNodeName,
  nodeOfUri,
  nodeUri,
  signerName,
} from './node-identity.js';
