/** Pure: what the demo needs to know of a migration, from what its agent says. */
import { ServalError, type ServalMigration, type TimelinePhase } from '@serval/api';

export interface Move {
  oldAddress: string;
  timeline: TimelinePhase[];
  freezeMs: number;
  /** from the first RSYN to the last acknowledgement */
  switchMs: number;
  /** when the last peer had switched, CLOCK_REALTIME in ms */
  switchedAt: number;
}

/** @throws ServalError ERR_NOT_FOUND where the agent has not measured something */
export function readMove({ metadata, status }: ServalMigration, oldAddress: string): Move {
  const timeline = status?.timeline ?? [];
  const last = timeline.find(({ name }) => name === 'switch');
  if (
    status?.freezeMs === undefined ||
    status.switchMs === undefined ||
    last === undefined ||
    status.startedAt === undefined
  )
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `migration ${metadata.name}`,
      reason: 'its agent tells neither how long it stood still nor when it was switched',
      remedy: 'The agent was restarted in the middle; run the demo again',
    });
  const { freezeMs, switchMs, startedAt } = status;
  // The agent's clock has milliseconds: up to one of them was cut off.
  const switchedAt = Date.parse(startedAt) + 1 + last.startMs + last.durationMs;
  return { oldAddress, timeline, freezeMs, switchMs, switchedAt };
}
