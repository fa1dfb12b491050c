/** Logs of pods, their last lines. */
import { one, paths, reasonOf, statusOf, type Cluster } from '../cluster.js';
import type { Pod } from '../types.js';
import type { Piece } from './collect.js';

const limitBytes = 1 << 20;
const patienceMs = 20_000;

/** Of each container, this run's and, where there was one, the run before. */
export function logPieces(cluster: Cluster, pods: readonly Pod[], lines: number): Piece[] {
  return pods.flatMap((pod) =>
    (pod.spec?.containers ?? []).flatMap(({ name: container }) => {
      const restarts =
        pod.status?.containerStatuses?.find(({ name }) => name === container)?.restartCount ?? 0;
      const { name, namespace = 'default' } = pod.metadata;
      const piece = (isPrevious: boolean): Piece => ({
        name: `logs/${name.slice(0, 60)}-${container.slice(0, 20)}${isPrevious ? '-before' : ''}.log`,
        what: `log of ${container} in pod ${namespace}/${name}${isPrevious ? ', the run before' : ''}`,
        get: () =>
          readLog(cluster, pod, {
            container,
            tailLines: lines,
            limitBytes,
            previous: isPrevious || undefined,
          }),
      });
      return restarts > 0 ? [piece(false), piece(true)] : [piece(false)];
    }),
  );
}

type Query = Record<string, string | number | boolean | undefined>;

async function readLog(cluster: Cluster, { metadata }: Pod, query: Query): Promise<string> {
  const path = `${one(paths.pods(metadata.namespace ?? 'default'), metadata.name)}/log`;
  const lines: string[] = [];
  try {
    for await (const line of cluster.lines({ path, query, signal: AbortSignal.timeout(patienceMs) }))
      lines.push(line);
  } catch (error) {
    // What has come is worth having; that it is not all must be said.
    if (lines.length === 0 || statusOf(error) !== undefined) throw error;
    lines.push(`(the log broke off here: ${reasonOf(error)})`);
  }
  return lines.map((line) => `${line}\n`).join('');
}
