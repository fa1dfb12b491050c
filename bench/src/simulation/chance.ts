/** Numbers by chance that come again with the same seed, so that each run of the simulation gives the same figures. */

const { exp, imul, log } = Math;

/** Each call gives a number from 0 to below 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function exponential(chance: () => number, mean: number): number {
  return -mean * log(1 - chance());
}

/** How often something happens that happens `mean` times on average (Knuth; for small means). */
export function poisson(chance: () => number, mean: number): number {
  const limit = exp(-mean);
  let count = 0;
  for (let product = chance(); product > limit; product *= chance()) count++;
  return count;
}
