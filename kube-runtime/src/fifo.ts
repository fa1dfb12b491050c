/** First in, first out. Array.shift() moves all that is left, which takes seconds for 100,000 in all. */

export class Fifo<Item> {
  private items: Item[] = [];
  private taken = 0;

  get length(): number {
    return this.items.length - this.taken;
  }

  push(item: Item): void {
    this.items.push(item);
  }

  shift(): Item | undefined {
    if (this.length === 0) return undefined;
    const item = this.items[this.taken++];
    // Half of it is behind us: moving the rest costs no more than what has been taken.
    if (this.taken * 2 > this.items.length) {
      this.items = this.items.slice(this.taken);
      this.taken = 0;
    }
    return item;
  }

  clear(): void {
    this.items = [];
    this.taken = 0;
  }
}
