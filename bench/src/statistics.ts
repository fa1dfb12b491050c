/** Middle and extremes of what several rounds gave. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** @throws RangeError where there is nothing to sort */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('no value was measured');
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** Of sorted values; between two of them where it falls there. */
export function quantile(sorted: ArrayLike<number>, part: number): number {
  const at = (sorted.length - 1) * part;
  const below = sorted[Math.floor(at)] as number;
  const above = sorted[Math.ceil(at)] as number;
  // Both may be infinite.
  if (above === below) return below;
  return below + (above - below) * (at - Math.floor(at));
}

/** What many equal tries gave. */
export interface Percentiles {
  p50: number;
  p99: number;
  max: number;
}

/** Not a number each where nothing was measured. */
export function percentiles(values: readonly number[], digits: number): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => (sorted.length === 0 ? NaN : rounded(quantile(sorted, part), digits));
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** The median of each round's own quotient: what drifts slowly touches both of them. */
export function medianRatio(values: readonly number[], bases: readonly number[]): number {
  return spread(values.map((value, round) => value / (bases[round] as number))).median;
}

/** Each round's difference to the base of the same round. */
export function overBase(values: readonly number[], bases: readonly number[]): Spread {
  return spread(values.map((value, round) => value - (bases[round] as number)));
}

/** To so many digits after the point, for people and for JSON. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

export function roundedSpread(values: Spread, digits: number): Spread {
  return {
    median: rounded(values.median, digits),
    min: rounded(values.min, digits),
    max: rounded(values.max, digits),
  };
}
