/** The real cluster, loaded when the first command needs it: the client library takes 20 MB and a moment. */
import type { Cluster, ClusterOptions } from './cluster.js';
import { requireNode } from './node-version.js';

/** @throws ServalError where the kubeconfig can not be read, or Node is too old */
export async function openCluster(options: ClusterOptions, version: string): Promise<Cluster> {
  requireNode(process.versions.node);
  return (await import('./real.js')).connect(options, version);
}
