/** A load: a workload that is moved, clients of it, and what they saw of each move. */
import type { MoveTimes } from './move-times.js';
import type { Stage } from './stage.js';

/** What the clients saw of one move; times in ms. */
export interface Observation {
  /** how much longer than the freeze a client waited */
  gapOverFreezeMs: number;
  /** connections that were closed or reset */
  resets: number;
  /** bytes, replies or messages that were lost, doubled, reordered or false */
  wrongBytes: number;
  /** from the switch until a connection was established that was opened before it, during the freeze */
  newcomerMs?: number;
  /** from the moment that the workload ran again until the flow was back at 90 % of its rate */
  recoveryMs?: number;
}

export interface RunningLoad {
  /** Begins to watch: a move comes. */
  begin(): Promise<void>;
  /** Says what was seen of the move since then. */
  end(move: MoveTimes): Promise<Observation>;
}

export interface Load {
  /** as in the results */
  name: string;
  connections: number;
  /** connections that exchange something all the time; the others are idle */
  working: number;
  /** bytes are compared with what they must be */
  checksBytes: boolean;
  start(stage: Stage): Promise<RunningLoad>;
}
