/**
 * Addresses that workloads have left and nobody has got since, and where those are now. On stable storage, in one record: a
 * restarted agent must still know them. A write that fails is tried again with the next one, or when it is asked for.
 */
export interface LeftAddress {
  address: string;
  now: string;
  /** of the workload: tells it from whoever gets `now` after it */
  uid: string;
}

export interface LeftStore {
  write(key: string, value: unknown): Promise<void>;
}

export const leftKey = 'left';
const version = 1;

export class LeftAddresses {
  private readonly byAddress = new Map<string, LeftAddress>();
  private dirty = false;
  private writing: Promise<void> = Promise.resolve();

  /** `records`: what was found on stable storage, of whatever kind. */
  constructor(
    private readonly store: LeftStore,
    records: ReadonlyMap<string, unknown>,
    private readonly onError: (error: unknown) => void,
  ) {
    for (const entry of recorded(records.get(leftKey))) this.byAddress.set(entry.address, entry);
  }

  all(): LeftAddress[] {
    return [...this.byAddress.values()];
  }

  get(address: string): LeftAddress | undefined {
    return this.byAddress.get(address);
  }

  put(entry: LeftAddress): void {
    const known = this.byAddress.get(entry.address);
    if (known?.now === entry.now && known.uid === entry.uid) return;
    this.byAddress.set(entry.address, entry);
    this.dirty = true;
  }

  remove(address: string): void {
    if (this.byAddress.delete(address)) this.dirty = true;
  }

  /** Resolves when all is written that was to be, or could not be; never rejects. */
  flush(): Promise<void> {
    this.writing = this.writing.then(() => this.write());
    return this.writing;
  }

  private async write(): Promise<void> {
    if (!this.dirty) return;
    this.dirty = false;
    try {
      await this.store.write(leftKey, { version, left: this.all() });
    } catch (error) {
      this.dirty = true;
      this.onError(error);
    }
  }
}

/** A record of another version says nothing here: addresses that were left are forgotten, nothing else. */
function recorded(value: unknown): LeftAddress[] {
  const record = value as { version?: number; left?: LeftAddress[] } | undefined;
  return record?.version === version && Array.isArray(record.left) ? record.left : [];
}
