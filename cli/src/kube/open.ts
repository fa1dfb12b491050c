/** The real cluster, loaded when the first command needs it: the client library takes 20 MB and a moment. */
import type { Cluster, ClusterOptions } from './cluster.js';

export async function openCluster(options: ClusterOptions, version: string): Promise<Cluster> {
  return (await import('./real.js')).connect(options, version);
}
