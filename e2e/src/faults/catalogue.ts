/** What is broken on purpose, and what must come of it. docs/reliability.md lists the same (reliability.test.ts). */

/** `completed`: the workload runs at the target; `rolled back`: it goes on at the source; `either`: it may be both. */
export type Outcome = 'completed' | 'rolled back' | 'either';

export interface Fault {
  name: string;
  outcome: Outcome;
}

export type Who = 'source' | 'target' | 'peer';

export interface Kill extends Fault {
  who: Who;
  phase?: string;
  /** after the nth record of this kind was written */
  written?: string;
  /** in the middle of that, with nothing on the disk yet */
  unwritten?: string;
  nth?: number;
}

export interface Cut extends Fault {
  who: Who;
  phase: string;
  ms: number;
}

const kill = (who: Who, phase: string, outcome: Outcome): Kill => ({
  name: `agent of the ${who} killed while ${phase}`,
  who,
  phase,
  outcome,
});

const killAfter = (who: Who, written: string, nth: number, what: string, outcome: Outcome): Kill => ({
  name: `agent of the ${who} killed right after it has written down ${what}`,
  who,
  written,
  nth,
  outcome,
});

const killBefore = (who: Who, unwritten: string, nth: number, what: string, outcome: Outcome): Kill => ({
  name: `agent of the ${who} killed before the disk has it ${what}`,
  who,
  unwritten,
  nth,
  outcome,
});

/** A phase is told before what it leads to is written down: killed at `released`, it was not released. */
export const kills: readonly Kill[] = [
  // Declared, and not written down yet that it was begun: the restarted agent rolls that back and begins once more.
  kill('source', 'preparing', 'either'),
  ...['planning', 'telling', 'quiescing', 'holding', 'freezing', 'moving'].map((phase) =>
    kill('source', phase, 'rolled back'),
  ),
  ...['restoring', 'restored', 'released'].map((phase) => kill('source', phase, 'rolled back')),
  killAfter('source', 'source', 3, 'that it is released', 'completed'),
  kill('source', 'retiring', 'completed'),
  kill('source', 'retired', 'completed'),
  ...['making', 'prepared'].map((phase) => kill('target', phase, 'completed')),
  kill('target', 'restoring', 'either'),
  kill('target', 'restored', 'either'),
  killAfter('target', 'target', 2, 'that it stands restored', 'completed'),
  ...['owner', 'telling', 'switching', 'done'].map((phase) => kill('target', phase, 'completed')),
  // Its peers have switched by then.
  killBefore('target', 'target', 3, 'that it owns the workload', 'completed'),
  killAfter('target', 'target', 3, 'that it owns the workload', 'completed'),
  ...['prepared', 'held', 'switched'].map((phase) => kill('peer', phase, 'completed')),
  killAfter('peer', 'peer', 1, 'that it is prepared', 'completed'),
];

const cut = (who: Who, phase: string, ms: number, outcome: Outcome): Cut => ({
  name: `host of the ${who} cut off for ${ms / 1000} s while ${phase}`,
  who,
  phase,
  ms,
  outcome,
});

const shortCutMs = 1_500;
/** longer than the deadline of the freeze */
const longCutMs = 5_000;

export const cuts: readonly Cut[] = [
  ...['preparing', 'planning', 'telling', 'quiescing', 'holding', 'freezing', 'moving'].map((phase) =>
    cut('source', phase, shortCutMs, 'either'),
  ),
  ...['restoring', 'restored'].map((phase) => cut('source', phase, shortCutMs, 'either')),
  ...['released', 'retiring', 'retired'].map((phase) => cut('source', phase, shortCutMs, 'completed')),
  cut('source', 'moving', longCutMs, 'rolled back'),
  ...['making', 'prepared', 'restoring', 'restored'].map((phase) =>
    cut('target', phase, shortCutMs, 'either'),
  ),
  ...['owner', 'telling', 'switching', 'done'].map((phase) => cut('target', phase, shortCutMs, 'completed')),
  cut('target', 'restored', longCutMs, 'either'),
  cut('peer', 'held', shortCutMs, 'either'),
  cut('peer', 'prepared', shortCutMs, 'either'),
  cut('peer', 'switched', shortCutMs, 'completed'),
];

/** What happens by chance to each message between agents, on all of them. */
export interface Noise extends Fault {
  seed: number;
  chances: { lose?: number; duplicate?: number; delay?: number; delayMs?: number; kinds?: string[] };
}

const lost = { lose: 0.2 };
const duplicated = { duplicate: 0.2 };
const delayed = { delay: 0.2, delayMs: 300 };
/** What is said from the release on: only then is there no way back any more. */
const late = { kinds: ['release', 'strays', 'rsyn', 'switched', 'ended'] };
/** Which messages are met decides what comes of it. */
const seeds = [1, 3];

export const noises: readonly Noise[] = [
  ...seeds.map((seed): Noise => ({
    name: `20 % of all messages lost, seed ${seed}`,
    seed,
    chances: lost,
    outcome: 'either',
  })),
  ...seeds.map((seed): Noise => ({
    name: `20 % of the messages from the release on lost, seed ${seed}`,
    seed,
    chances: { ...lost, ...late },
    outcome: 'completed',
  })),
  { name: '20 % of all messages duplicated', seed: 1, chances: duplicated, outcome: 'completed' },
  { name: '20 % of all messages delayed by up to 0.3 s', seed: 1, chances: delayed, outcome: 'completed' },
  ...seeds.map((seed): Noise => ({
    name: `20 % of all messages lost, 20 % duplicated, 20 % delayed, seed ${seed}`,
    seed,
    chances: { ...lost, ...duplicated, ...delayed },
    outcome: 'either',
  })),
];

export interface CriuFailure extends Fault {
  action: 'dump' | 'restore';
  /** before it has done anything, or when all is done */
  when: 'at once' | 'at its end';
}

const criuFails = (action: CriuFailure['action'], when: CriuFailure['when']): CriuFailure => ({
  name: `criu ${action} fails ${when}`,
  action,
  when,
  outcome: 'rolled back',
});

export const criuFailures: readonly CriuFailure[] = [
  criuFails('dump', 'at once'),
  criuFails('dump', 'at its end'),
  criuFails('restore', 'at once'),
  criuFails('restore', 'at its end'),
];

export interface ClockStep extends Fault {
  who: Who;
  phase: string;
  ms: number;
}

const hourMs = 3_600_000;

/** Steps forward, then back: each agent has the time again that it began with. */
export const clockSteps: readonly ClockStep[] = (
  [
    ['source', 'moving'],
    ['target', 'restored'],
    ['peer', 'held'],
  ] as const
).flatMap(([who, phase]) =>
  [hourMs, -hourMs].map((ms) => ({
    name: `clock of the ${who} stepped ${ms > 0 ? 'forward' : 'back'} by an hour while ${phase}`,
    who,
    phase,
    ms,
    outcome: 'completed' as const,
  })),
);

export interface FullDisk extends Fault {
  who: Who;
}

/** At the source it becomes full while criu writes; the target is told first how much will come. */
export const fullDisks: readonly FullDisk[] = (['source', 'target'] as const).map((who) => ({
  name: `no room for the images at the ${who}`,
  who,
  outcome: 'rolled back',
}));

/** The disk that an agent writes its moves down on, full from a step of the move on. */
export interface FullStateDisk extends Fault {
  who: Who;
  /** of the same agent; absent: from before the move on */
  phase?: string;
  /** for so long; absent: until the move is over */
  ms?: number;
}

/** longer than the deadline of the preparation */
const longFullMs = 8_000;

const stateDisk = (who: Who, phase: string): FullStateDisk => ({
  name: `no room for the state of the ${who} from ${phase} on`,
  who,
  phase,
  outcome: 'completed',
});

const stateDiskBefore = (who: Who): FullStateDisk => ({
  name: `no room for the state of the ${who} from before the move on, for ${longFullMs / 1000} s`,
  who,
  ms: longFullMs,
  outcome: 'either',
});

/**
 * What has begun has its room. What has not waits for it: nothing is held or frozen yet. Every host has clients, so that the agents
 * of source and target begin twice: they are peers as well.
 */
export const fullStateDisks: readonly FullStateDisk[] = [
  stateDisk('source', 'holding'),
  stateDisk('source', 'restored'),
  stateDisk('target', 'restoring'),
  stateDisk('target', 'restored'),
  stateDisk('peer', 'prepared'),
  stateDisk('peer', 'held'),
  stateDiskBefore('source'),
  stateDiskBefore('target'),
  stateDiskBefore('peer'),
];

export const allFaults: readonly Fault[] = [
  ...kills,
  ...cuts,
  ...noises,
  ...criuFailures,
  ...clockSteps,
  ...fullDisks,
  ...fullStateDisks,
];
