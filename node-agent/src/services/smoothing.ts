/**
 * Steering by measured load. What is felt is how far a group of replicas is loaded beyond its share, as a logarithm; what
 * comes out is how far its new flows are to be cut back, as a logarithm too. In logarithms the answer of the load is the
 * same for whatever excess: cut back by u, the load sinks by u in the end. So one setting fits twofold and tenfold.
 *
 * The load answers late: reports are a second or two old, and flows live for nobody knows how long. Hence three terms' worth
 * of caution: a slow mean of the excess times a high gain brings the load to its share but for a sixth of what was too much (as a
 * logarithm); the momentary excess times a low gain makes it quick; and the slow mean forgets, so that agents that have
 * watched for different times come to decide alike. Gains are below what makes two seconds of delay swing, and with
 * flows that live longer the answer is slower but hardly overshoots (docs/simulation.md shows both).
 */

/** Of the slow mean: how much of an excess is cut back in the long run. */
const slowGain = 5;
/** Of the momentary excess. With a delay of two reports more than 0.5 begins to swing. */
const quickGain = 0.3;
const slowMs = 20_000;
/** Noise of single reports is taken off before anything begins. */
const feltMs = 1_500;
/** Longer gaps between two plans count for no more: nothing is known of them. */
const longestStepMs = 3_000;

/** How much of the way to a new value a mean goes in `elapsedMs`. */
export function pace(elapsedMs: number, timeMs: number): number {
  return 1 - Math.exp(-Math.min(Math.max(elapsedMs, 0), longestStepMs) / timeMs);
}

/** `least` and `most` are what may come out: the mean does not go where it could have no effect. */
export function steer(
  slow: number,
  excess: number | undefined,
  elapsedMs: number,
  least: number,
  most: number,
): number {
  const next = slow + ((excess ?? 0) - slow) * pace(elapsedMs, slowMs);
  return Math.min(most / slowGain, Math.max(least / slowGain, next));
}

/** How far to cut back. */
export function cutBack(slow: number, excess: number | undefined, least: number, most: number): number {
  return Math.min(most, Math.max(least, slowGain * slow + quickGain * (excess ?? 0)));
}

/** Whether a ring's flows spill over, and how many. */
export interface Spill {
  /** excess without the noise of single reports */
  readonly felt: number;
  readonly slow: number;
  readonly active: boolean;
  /** part of its flows that stay, 0 to 1 */
  readonly kept: number;
}

export const noSpill: Spill = { felt: 0, slow: 0, active: false, kept: 1 };
/** Something always stays: else nobody would learn that the ring has room again. */
const mostCut = Math.log(50);

/**
 * Begins where the excess is beyond `deadband`, ends where it would be below half of that without any cut.
 * `excess` undefined: loads are not known. Then flows come home bit by bit.
 */
export function nextSpill(
  spill: Spill,
  excess: number | undefined,
  deadband: number,
  elapsedMs: number,
): Spill {
  const felt = spill.felt + ((excess ?? 0) - spill.felt) * pace(elapsedMs, feltMs);
  const cutBefore = -Math.log(spill.kept);
  const active = spill.active ? felt + cutBefore > deadband / 2 : felt > deadband;
  if (!active) return Math.abs(felt) < 1e-3 ? noSpill : { felt, slow: 0, active, kept: 1 };
  // What is felt when it begins is there already: it is cut back at once.
  const before = spill.active ? spill.slow : felt / slowGain;
  const slow = steer(before, excess, elapsedMs, 0, mostCut);
  return { felt, slow, active, kept: Math.exp(-cutBack(slow, excess, 0, mostCut)) };
}
