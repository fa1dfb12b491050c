/** What of a node's report is believed: only what is about addresses that it hosts. Pure. */
import type { SentReport } from '../../signalling/index.js';

/** Parts of a report that can be about an address, as the metric names them. */
export const refusedParts = ['replica', 'moving', 'left', 'died', 'pod', 'moved'] as const;
export type RefusedPart = (typeof refusedParts)[number];

export interface Believed {
  report: SentReport;
  /** entries that were dropped, by what they are; those that are zero are left out */
  refused: Partial<Record<RefusedPart, number>>;
}

export function believe(said: SentReport, hosts: (address: string) => boolean): Believed {
  const refused: Partial<Record<RefusedPart, number>> = {};
  const kept = <Entry>(part: RefusedPart, entries: Entry[], address: (entry: Entry) => string): Entry[] => {
    const own = entries.filter((entry) => hosts(address(entry)));
    if (own.length < entries.length) refused[part] = entries.length - own.length;
    return own;
  };
  const itself = (address: string): string => address;
  const about = ({ address }: { address: string }): string => address;
  const report: SentReport = {
    sequence: said.sequence,
    replicas: kept('replica', said.replicas, about),
    moving: kept('moving', said.moving, itself),
    // Where a workload went is the word of the node that it left; nobody else can know.
    left: kept('left', said.left, about),
    died: kept('died', said.died, itself),
    pods: kept('pod', said.pods, itself),
    moved: kept('moved', said.moved, about),
  };
  return { report, refused };
}
