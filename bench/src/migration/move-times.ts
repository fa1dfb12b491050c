/** Pure: when things happened in a move, on the clock of everybody (CLOCK_REALTIME, ms), and what each part cost. */
import { ServalError, type ServalMigration } from '@serval/api';

export interface MoveTimes {
  flows: number;
  freezeMs: number;
  /** from the first RSYN to the last acknowledgement */
  switchMs: number;
  /** the mover's share of the freeze */
  moverMs: number;
  dumpMs: number;
  transferMs: number;
  restoreMs: number;
  frozenAt: number;
  resumedAt: number;
  switchedAt: number;
}

/** @throws ServalError ERR_NOT_FOUND where the agent has not measured something */
export function moveTimes({ metadata, status }: ServalMigration): MoveTimes {
  const phase = (name: string) => status?.timeline?.find((each) => each.name === name);
  const [freeze, resume, last] = [phase('freeze'), phase('resume'), phase('switch')];
  const { startedAt, freezeMs, switchMs } = status ?? {};
  if (
    startedAt === undefined ||
    freezeMs === undefined ||
    switchMs === undefined ||
    !freeze ||
    !resume ||
    !last
  )
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `migration ${metadata.name}`,
      reason: 'its agent tells neither how long it stood still nor when it was switched',
      remedy: 'The agent was restarted in the middle; run the bench again',
    });
  const cost = (name: string): number => phase(name)?.durationMs ?? 0;
  const [dumpMs, transferMs, restoreMs] = [cost('dump'), cost('transfer'), cost('restore')];
  // The agent's clock has milliseconds: half of one was cut off, in the middle.
  const began = Date.parse(startedAt) + 0.5;
  return {
    flows: status?.flows ?? 0,
    freezeMs,
    switchMs,
    moverMs: dumpMs + transferMs + restoreMs,
    dumpMs,
    transferMs,
    restoreMs,
    frozenAt: began + freeze.startMs,
    resumedAt: began + resume.startMs + resume.durationMs,
    switchedAt: began + last.startMs + last.durationMs,
  };
}
