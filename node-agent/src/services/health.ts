/**
 * Whether a replica gets new flows, from what this node's own clients met and from its host's word: a state machine.
 *
 *   good --(failures in a row)--> silent --(retryAt)--> easing --(10 s)--> good
 *   any --(its host's word)--> dead --(listed as alive again)--> easing
 *
 * One failure while easing makes it silent again, for twice as long.
 */
import type { HealthState, ReplicaSeen } from './types.js';

export interface Health {
  readonly state: HealthState;
  /** silent: when it may be tried again; easing: when that began; ms */
  readonly at: number;
  /** how often it fell silent since it last answered */
  readonly strikes: number;
  /** failures since a connection was established */
  readonly inARow: number;
  /** counters of `ReplicaSeen` as last read */
  readonly connections: number;
  readonly failures: number;
  /** of the last ten seconds or so: each second before counts less */
  readonly answered: number;
  readonly failed: number;
  /** when it was last looked at, ms */
  readonly seenAt: number;
}

export interface HealthEvent {
  now: number;
  seen?: ReplicaSeen | undefined;
  dead?: boolean | undefined;
  /** its workload is being moved: that nobody answers says nothing */
  moving?: boolean | undefined;
  /** it was not there, or not ready, and others were: it is to be eased in */
  arrived?: boolean;
  /** 0 to below 1, of this replica at this node: so that nodes don't all try it at the same moment */
  jitter: () => number;
}

/** SYNs without an answer, or refused, with no connection between them. */
const failuresToSilence = 2;
const firstRetryMs = 1_000;
const longestRetryMs = 30_000;
export const easingMs = 10_000;
/** What a replica gets at first, of what it would get. */
const firstShare = 0.1;
/** Steps of easing: each one is a new table in the kernel. */
export const easingStepMs = 1_000;
/** Failures are forgotten within some such time. */
const memoryMs = 10_000;

const unknown: Health = {
  state: 'good',
  at: 0,
  strikes: 0,
  inARow: 0,
  connections: 0,
  failures: 0,
  answered: 0,
  failed: 0,
  seenAt: 0,
};

/** Undefined stands for good, and nothing to remember. */
export function nextHealth(health: Health | undefined, event: HealthEvent): Health | undefined {
  if (health === undefined && event.seen === undefined && event.dead !== true && event.arrived !== true)
    return undefined;
  const before = health ?? unknown;
  const { now } = event;
  if (event.dead === true) return { ...counted(before, event), state: 'dead', at: now, inARow: 0 };
  if (before.state === 'dead' || event.arrived === true)
    return { ...counted(before, event), state: 'easing', at: now, inARow: 0 };
  return settled(decided(before, counted(before, event), event));
}

/** When it changes by itself, ms; undefined: it doesn't. */
export function healthDue({ state, at }: Health, now: number): number | undefined {
  if (state === 'silent') return at;
  return state === 'easing' ? now + easingStepMs : undefined;
}

/** What part of its share it gets, 0 to 1. Of easing it grows in steps. */
export function healthShare(health: Health | undefined, now: number): number {
  if (health === undefined || health.state === 'good') return 1;
  if (health.state !== 'easing') return 0;
  const steps = Math.floor((now - health.at) / easingStepMs);
  return Math.min(1, firstShare + ((1 - firstShare) * steps * easingStepMs) / easingMs);
}

/** The part of flows that it takes well, 0 to 1, squared: who fails half of them gets a quarter. */
export function reliability({ answered, failed }: Health): number {
  // Two answers are taken for granted: one failure alone says little.
  const good = (answered + 2) / (answered + failed + 2);
  return good * good;
}

function counted(before: Health, { seen, now, moving }: HealthEvent): Health {
  if (seen === undefined) return before;
  const fade = Math.exp(-Math.max(0, now - before.seenAt) / memoryMs);
  const { connections, failures } = news(before, seen);
  return {
    ...before,
    connections: seen.connections,
    failures: seen.failures,
    answered: before.answered * fade + connections,
    failed: before.failed * fade + (moving === true ? 0 : failures),
    inARow: connections > 0 || moving === true ? 0 : before.inARow + failures,
    seenAt: now,
  };
}

/** Since the counters were last read. They begin anew with a new agent or replica. */
function news(before: Health, seen: ReplicaSeen): { connections: number; failures: number } {
  const anew = seen.connections < before.connections || seen.failures < before.failures;
  return {
    connections: seen.connections - (anew ? 0 : before.connections),
    failures: seen.failures - (anew ? 0 : before.failures),
  };
}

function decided(before: Health, after: Health, { seen, now, jitter }: HealthEvent): Health {
  const answers = seen !== undefined && news(before, seen).connections > 0;
  switch (before.state) {
    case 'silent':
      // Flows that went there for want of others may find out first.
      return answers || now >= before.at ? { ...after, state: 'easing', at: now, inARow: 0 } : after;
    case 'easing': {
      if (after.inARow > 0) return silent(after, now, jitter());
      const strikes = answers ? 0 : after.strikes;
      return now - after.at >= easingMs ? { ...after, strikes, state: 'good' } : { ...after, strikes };
    }
    default:
      return after.inARow >= failuresToSilence ? silent(after, now, jitter()) : after;
  }
}

function silent(health: Health, now: number, jitter: number): Health {
  const strikes = health.strikes + 1;
  const wait = Math.min(longestRetryMs, firstRetryMs * 2 ** (strikes - 1));
  // To be silent, and then eased in, is enough for these failures: they don't count against it again.
  const anew = { answered: 0, failed: 0, inARow: 0 };
  return { ...health, ...anew, state: 'silent', strikes, at: now + wait * (1 + 0.2 * jitter) };
}

/** Counters stay, else all that they count would be news again. */
function settled(health: Health): Health | undefined {
  const isBlank = health.connections === 0 && health.failures === 0 && health.strikes === 0;
  return health.state === 'good' && isBlank ? undefined : health;
}
