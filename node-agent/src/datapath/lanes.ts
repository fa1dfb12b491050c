/** Work in lanes: what is in the same lane goes one after the other, in the order of asking; lanes don't wait for each other. */
export class Lanes {
  private readonly tails = new Map<string, Promise<unknown>>();

  run<Result>(lane: string, work: () => Promise<Result>): Promise<Result> {
    const result = (this.tails.get(lane) ?? Promise.resolve()).then(work);
    const tail: Promise<unknown> = result
      .catch(() => undefined)
      .then(() => {
        if (this.tails.get(lane) === tail) this.tails.delete(lane);
      });
    this.tails.set(lane, tail);
    return result;
  }

  /** Until nothing is under way in any lane. */
  async idle(): Promise<void> {
    while (this.tails.size > 0) await Promise.all(this.tails.values());
  }
}
