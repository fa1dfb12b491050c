/** What the source's agent has to do about a ServalMigration, as the operator has written it. Pure. */
import type { ServalMigration } from '@serval/api';

/** The ends of the source's part. */
export const ends: ReadonlySet<string> = new Set(['retired', 'aborted']);
/** From here on the target has it. */
const targetsOwn: ReadonlySet<string> = new Set(['owner', 'telling', 'switching', 'done']);
const released: ReadonlySet<string> = new Set(['released', 'retiring']);

export interface Known {
  node: string;
  /** of the source's part, by the protocol; undefined: it was never begun here, or is long over */
  phase: string | undefined;
  /** the workload runs on this node */
  isHere: boolean;
}

export type Decision =
  | { do: 'nothing' }
  /** say first that it begins: the operator must not take it for one that nobody has begun */
  | { do: 'begin' }
  /** what the protocol does is to be told from now on; it goes on by itself */
  | { do: 'follow' }
  | { do: 'cancel' }
  /** the protocol has nothing of it any more: say how it ended */
  | { do: 'end'; result: 'succeeded' | 'failed'; reason?: string };

export function decide(object: ServalMigration, known: Known): Decision {
  const { sourceNode, sourceStep = '', migration, finishedAt } = object.status ?? {};
  const isOurs = sourceNode === known.node && migration !== undefined;
  if (!isOurs || finishedAt !== undefined || ends.has(sourceStep)) return { do: 'nothing' };
  return known.phase === undefined ? unknownHere(object, known) : inProtocol(object, known.phase);
}

function inProtocol(object: ServalMigration, phase: string): Decision {
  if (phase === 'retired') return { do: 'end', result: 'succeeded' };
  if (phase === 'aborted') return { do: 'end', result: 'failed' };
  return { do: isGivenUp(object) ? 'cancel' : 'follow' };
}

/** Nobody has begun it here, or it was over so long ago that the protocol has forgotten it. */
function unknownHere(object: ServalMigration, { isHere }: Known): Decision {
  const { sourceStep, targetStep = '', phase } = object.status ?? {};
  // The operator takes what nobody has begun for ended.
  if (sourceStep === undefined) return { do: mayBegin(object, phase) ? 'begin' : 'nothing' };
  if (sourceStep === 'preparing' && mayBegin(object, phase)) return { do: 'begin' };
  const isGone = !isHere && (released.has(sourceStep) || targetsOwn.has(targetStep));
  if (isGone) return { do: 'end', result: 'succeeded' };
  const reason = 'the agent was restarted before it had begun, or long after it was over';
  return { do: 'end', result: 'failed', reason };
}

function mayBegin(object: ServalMigration, phase: string | undefined): boolean {
  return phase === 'Moving' && !isGivenUp(object);
}

function isGivenUp({ metadata, status }: ServalMigration): boolean {
  return metadata.deletionTimestamp !== undefined || status?.phase === 'Aborting';
}
