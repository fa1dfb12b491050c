/**
 * Pure: the life of the authority that signs. Well before it ends a new one is made and published; it signs only once every
 * agent has had time to read of it; the old one stays trusted until what it has issued has ended.
 */

/** A certificate in PEM, and when it ends, ms since 1970. */
export interface Trusted {
  cert: string;
  until: number;
}

export interface Authority extends Trusted {
  key: string;
  /** from when it is valid */
  from: number;
}

export interface AuthorityState {
  /** it signs */
  current: Authority;
  /** since when, where that is known */
  signsSince?: number;
  /** it is to sign */
  next?: Authority;
  /** since when it has been where agents read it */
  publishedAt?: number;
  /** they signed before */
  previous: readonly Trusted[];
  /** somebody wants another one now */
  isRotationWanted: boolean;
}

export interface AuthorityTimes {
  /** an authority is valid for so long, ms */
  lifeMs: number;
  /** a new one is published for so long before it signs, ms */
  noticeMs: number;
  /** the longest that a node's certificate is valid, ms */
  certificateMs: number;
}

export type AuthorityStep =
  | { do: 'nothing' }
  /** the next one, which is published before anything else is done */
  | { do: 'make' }
  /** that the next one has been published, or that this one signs */
  | { do: 'note' }
  /** it signs from now on */
  | { do: 'promote' }
  /** these are trusted no more */
  | { do: 'retire'; certs: readonly string[] };

const [dayMs, hourMs] = [86_400_000, 3_600_000];
export const defaultTimes: AuthorityTimes = {
  lifeMs: 365 * dayMs,
  noticeMs: dayMs,
  certificateMs: 30 * dayMs,
};
/** Clocks of nodes differ: an old authority is trusted for so much longer, at most. */
const slackMs = hourMs;

/** @param now ms since 1970. What is trusted is published before a step is asked for. */
export function nextStep(state: AuthorityState, times: AuthorityTimes, now: number): AuthorityStep {
  const { next, publishedAt } = state;
  const retired = retirable(state, times, now);
  if (retired.length > 0) return { do: 'retire', certs: retired };
  const isUnsure = state.signsSince === undefined && state.previous.length > 0;
  if (isUnsure || (next !== undefined && publishedAt === undefined)) return { do: 'note' };
  if (next === undefined || publishedAt === undefined)
    return isDue(state, now) ? { do: 'make' } : { do: 'nothing' };
  // Where nobody was there in time, agents that have not heard of it are better than certificates that nobody takes.
  const isLate = state.current.until <= now;
  return isLate || now >= publishedAt + times.noticeMs ? { do: 'promote' } : { do: 'nothing' };
}

/** The one that signs first: agents with a certificate of another renew it. */
export function trustedBy({ current, next, previous }: AuthorityState): string {
  return [current, ...(next === undefined ? [] : [next]), ...previous].map(({ cert }) => cert).join('');
}

/** After a step that takes nothing from elsewhere. @param made the new one, where it is to make one */
export function after(
  step: AuthorityStep,
  state: AuthorityState,
  now: number,
  made?: Authority,
): AuthorityState {
  if (step.do === 'make' && made !== undefined) return { ...state, next: made, isRotationWanted: false };
  if (step.do === 'note')
    return {
      ...state,
      signsSince: state.signsSince ?? now,
      ...(state.next === undefined ? {} : { publishedAt: state.publishedAt ?? now }),
    };
  if (step.do === 'promote' && state.next !== undefined) return promoted(state, state.next, now);
  if (step.do === 'retire')
    return { ...state, previous: state.previous.filter(({ cert }) => !step.certs.includes(cert)) };
  return state;
}

function promoted(state: AuthorityState, next: Authority, now: number): AuthorityState {
  const { cert, until } = state.current;
  const previous = [{ cert, until }, ...state.previous];
  return { current: next, signsSince: now, previous, isRotationWanted: false };
}

/** When less than a third of its life is left. */
function isDue({ current, isRotationWanted }: AuthorityState, now: number): boolean {
  return isRotationWanted || now >= current.until - (current.until - current.from) / 3;
}

/** The one before signs no more since the current does; a certificate of it lives for so long after that. */
function retirable(state: AuthorityState, times: AuthorityTimes, now: number): string[] {
  const { previous, signsSince = now } = state;
  const slack = Math.min(slackMs, times.certificateMs);
  const isOver = now >= signsSince + times.certificateMs + slack;
  return previous.filter(({ until }) => isOver || until <= now).map(({ cert }) => cert);
}

/** Why authorities with these times could not follow each other; undefined: they can. */
export function timesTrouble({ lifeMs, noticeMs, certificateMs }: AuthorityTimes): string | undefined {
  const least = 3 * (noticeMs + 2 * certificateMs);
  if (lifeMs >= least) return undefined;
  return (
    `an authority that is valid for ${lifeMs / 1_000} s has not the time to be followed by another: ` +
    `three times the notice and twice the life of a certificate are ${least / 1_000} s`
  );
}
