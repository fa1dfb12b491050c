/** Work that must not overlap, by a name: the next begins when the last has ended, however it ended. */
export class OneAtATime {
  private readonly last = new Map<string, Promise<unknown>>();

  async run<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.last.get(name) ?? Promise.resolve();
    const now = before.then(work, work);
    const ended = now.catch(() => undefined);
    this.last.set(name, ended);
    try {
      return await now;
    } finally {
      if (this.last.get(name) === ended) this.last.delete(name);
    }
  }
}
