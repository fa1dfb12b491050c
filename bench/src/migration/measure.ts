/** Moves a load again and again, there and back, and puts together what came of it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Progress } from '../bench.js';
import { percentiles, rounded, type Percentiles } from '../statistics.js';
import type { Load, Observation } from './load.js';
import type { MoveTimes } from './move-times.js';
import { Stage, withStage } from './stage.js';

/** Rules of earlier hops go 2 s after a switch: the next move does not find them. The control stands in the middle. */
const betweenMs = 1_200;
/** So long everything goes on after a move until it is looked at. */
const afterMs = 300;
const slots = 1 << 17;

export interface Run {
  load: string;
  connections: number;
  /** migrations that were measured */
  n: number;
  freezeMs: Percentiles;
  gapOverFreezeMs: Percentiles;
  switchMs: Percentiles;
  resets: number;
  wrongBytes: number;
  working: number;
  /** false: the program does not look at its bytes, so that `wrongBytes` says nothing */
  checksBytes: boolean;
  /** migrations that were rolled back, and the reasons */
  rolledBack: string[];
  /** the mover's share of the freeze */
  moverMs: Percentiles & { dump: Percentiles; transfer: Percentiles; restore: Percentiles };
  /** gap over the freeze of the control: the workload merely stood still for as long, after each move */
  pauseGapMs: Percentiles;
  /** the rest of the freeze, and how much longer than that clients waited: what Serval adds */
  servalMs: Percentiles;
  /** of connections that were opened during the freeze: from the switch until they were established */
  newcomerMs?: Percentiles & { n: number };
  /** from the end of the freeze until the flow was back at 90 % of its rate */
  recoveryMs?: Percentiles;
}

interface Seen {
  move: MoveTimes;
  observation: Observation;
  /** what the clients saw of a mere pause of that length */
  control: Observation;
}

export async function measureLoad(
  load: Load,
  moves: number,
  progress: Progress,
  onStage: (stage: Stage) => void,
): Promise<Run> {
  const stage = await Stage.build(slots);
  onStage(stage);
  return withStage(stage, async () => {
    const running = await load.start(stage);
    progress(`${load.name}: it runs, with ${load.connections} connections`);
    const seen: Seen[] = [];
    const rolledBack: string[] = [];
    for (let turn = 1; turn <= moves; turn++) {
      await delay(betweenMs);
      await running.begin();
      try {
        const move = await stage.move();
        await delay(afterMs);
        const observation = await running.end(move);
        await delay(betweenMs);
        await running.begin();
        const pause = await stage.pause(move.freezeMs);
        await delay(afterMs);
        const control = await running.end(pause);
        seen.push({ move, observation, control });
        progress(`${load.name}: move ${turn} of ${moves}: ${inWords(move, observation, control)}`);
      } catch (error) {
        rolledBack.push((error as Error).message);
        progress(`${load.name}: move ${turn} of ${moves}: ${(error as Error).message}`);
      }
    }
    return summary(load, seen, rolledBack);
  });
}

function inWords(
  move: MoveTimes,
  { gapOverFreezeMs, newcomerMs, recoveryMs, ...counts }: Observation,
  control: Observation,
): string {
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  return [
    `freeze ${ms(move.freezeMs)} (mover ${ms(move.moverMs)})`,
    `gap over it ${ms(gapOverFreezeMs)} (over a mere pause ${ms(control.gapOverFreezeMs)})`,
    `switch ${ms(move.switchMs)}`,
    ...(newcomerMs === undefined ? [] : [`newcomer ${ms(newcomerMs)}`]),
    ...(recoveryMs === undefined ? [] : [`at 90 % after ${ms(recoveryMs)}`]),
    ...(counts.resets > 0 ? [`${counts.resets} resets`] : []),
    ...(counts.wrongBytes > 0 ? [`${counts.wrongBytes} wrong`] : []),
  ].join(', ');
}

function summary(load: Load, seen: readonly Seen[], rolledBack: string[]): Run {
  const of = (value: (seen: Seen) => number): Percentiles => percentiles(seen.map(value), 2);
  const total = (value: (observation: Observation) => number): number =>
    seen.reduce((sum, { observation }) => sum + value(observation), 0);
  const given = (value: (observation: Observation) => number | undefined): number[] =>
    seen.map(({ observation }) => value(observation)).filter((each) => each !== undefined);
  const newcomers = given(({ newcomerMs }) => newcomerMs);
  const recoveries = given(({ recoveryMs }) => recoveryMs);
  return {
    load: load.name,
    connections: load.connections,
    n: seen.length,
    freezeMs: of(({ move }) => move.freezeMs),
    gapOverFreezeMs: of(({ observation }) => observation.gapOverFreezeMs),
    switchMs: of(({ move }) => move.switchMs),
    resets: total(({ resets }) => resets),
    wrongBytes: total(({ wrongBytes }) => wrongBytes),
    working: load.working,
    checksBytes: load.checksBytes,
    rolledBack,
    moverMs: {
      ...of(({ move }) => move.moverMs),
      dump: of(({ move }) => move.dumpMs),
      transfer: of(({ move }) => move.transferMs),
      restore: of(({ move }) => move.restoreMs),
    },
    pauseGapMs: of(({ control }) => control.gapOverFreezeMs),
    servalMs: of(({ move, observation }) =>
      rounded(move.freezeMs - move.moverMs + observation.gapOverFreezeMs, 2),
    ),
    ...(newcomers.length === 0 ? {} : { newcomerMs: { ...percentiles(newcomers, 2), n: newcomers.length } }),
    ...(recoveries.length === 0 ? {} : { recoveryMs: percentiles(recoveries, 2) }),
  };
}
