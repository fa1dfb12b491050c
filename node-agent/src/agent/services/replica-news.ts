/** What the nodes' reports say about replicas, as the choice of replicas asks for it. */
import type { Protocol } from '../../datapath/types.js';
import type { Replica, ReplicaLoad } from '../../services/types.js';

export interface ReplicaNews {
  /** undefined where its host has said nothing of it, or not for long */
  load(replica: Replica, protocol: Protocol): ReplicaLoad | undefined;
  /** its host says that it is gone, or the host itself is silent for long and nobody vouches for it */
  isDead(replica: Replica): boolean;
  /** where a workload is that has left this address */
  moved(address: string): { address: string; node?: string } | undefined;
  leftAddresses(): ReadonlyMap<string, string>;
  /** something was heard of the replicas that the filter lets through */
  onChange(listener: (isConcerned: (replica: Replica) => boolean) => void): void;
  onLeftChange(listener: () => void): void;
  /** these nodes' word is asked for from now on */
  follow(nodes: ReadonlySet<string>): void;
}

/** Nothing was ever heard. */
export const noNews: ReplicaNews = {
  load: () => undefined,
  isDead: () => false,
  moved: () => undefined,
  leftAddresses: () => new Map(),
  onChange: () => undefined,
  onLeftChange: () => undefined,
  follow: () => undefined,
};
