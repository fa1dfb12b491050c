/** Pure: another replica for a socket, by the weights of the plan, and not where the first one failed if that can be helped. */
import type { Endpoint } from '../../datapath/types.js';
import type { ServicePlan, WeightedReplica } from '../../services/types.js';

/**
 * `draw` is from 0 to below 1. A whole host may be silent, so replicas of other hosts than those that were tried come first;
 * then others; then those of weight 0 that are ready (their ring was not needed so far). Undefined where none is left.
 */
export function pick(
  { replicas }: Pick<ServicePlan, 'replicas'>,
  tried: readonly Endpoint[],
  draw: number,
): Endpoint | undefined {
  const isTried = ({ address, port }: Endpoint): boolean =>
    tried.some((each) => each.address === address && each.port === port);
  const nodes = new Set(replicas.filter(isTried).map(({ node }) => node));
  const left = replicas.filter(
    (replica) => !isTried(replica) && replica.health !== 'dead' && (replica.ready || replica.draining),
  );
  const elsewhere = left.filter(({ node }) => node === undefined || !nodes.has(node));
  const weighted = (some: readonly WeightedReplica[]): WeightedReplica[] =>
    some.filter(({ weight }) => weight > 0);
  const good = (some: readonly WeightedReplica[]): WeightedReplica[] =>
    some.filter(({ health, ready, load }) => health === 'good' && ready && load?.moving !== true);
  for (const some of [weighted(elsewhere), good(elsewhere), weighted(left), good(left), left])
    if (some.length > 0) return drawn(some, draw);
  return undefined;
}

function drawn(some: readonly WeightedReplica[], draw: number): Endpoint {
  const total = some.reduce((sum, { weight }) => sum + weight, 0);
  let at = draw * (total > 0 ? total : some.length);
  for (const replica of some) {
    at -= total > 0 ? replica.weight : 1;
    if (at < 0) return { address: replica.address, port: replica.port };
  }
  const { address, port } = some.at(-1) as WeightedReplica;
  return { address, port };
}
