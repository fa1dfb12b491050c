/** Which part of the agent does which work of the protocol. */
import type { Role, WorkName } from '../protocol/effects.js';
import type { PeerWorks } from './peer-work.js';
import type { SourceWorks } from './source-work.js';
import type { TargetWorks } from './target-work.js';

type WorkloadMethod = (migration: string, workload: string, request: unknown) => Promise<object>;
type PeerMethod = (migration: string, request: unknown) => Promise<object>;

export interface Works {
  source: SourceWorks;
  target: TargetWorks;
  peer: PeerWorks;
}

export function doWork(
  works: Works,
  { role, migration, work }: { role: Role; migration: string; work: WorkName },
  workload: string,
  request: unknown,
): Promise<object> {
  if (role === 'peer') {
    const methods = works.peer as unknown as Record<string, PeerMethod>;
    return (methods[work] as PeerMethod).call(works.peer, migration, request);
  }
  const methods = works[role] as unknown as Record<string, WorkloadMethod>;
  return (methods[work] as WorkloadMethod).call(works[role], migration, workload, request);
}
