/**
 * The `external` mover: somebody else moves the workload, and tells the agents by their API when. At the source
 * `freeze` answers when everything is held (then freeze and move it); at the target `restored` answers when its flows
 * have been switched (it may run already: its pod is held until then).
 */
import type { Mover } from './mover.js';

interface Gate {
  open: () => void;
  opened: Promise<void>;
}

function gate(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

interface Gates {
  freezeAsked: Gate;
  restored: Gate;
}

export class ExternalMover implements Mover {
  readonly #gates = new Map<string, Gates>();

  /** The caller wants to freeze as soon as everything is held. */
  askFreeze(migration: string): void {
    this.#of(migration).freezeAsked.open();
  }

  /** The caller has restored it at the target. */
  tellRestored(migration: string): void {
    this.#of(migration).restored.open();
  }

  ready(migration: string): Promise<void> {
    return this.#of(migration).freezeAsked.opened;
  }

  cancel(migration: string): void {
    this.#forget(migration);
  }

  freeze(): Promise<void> {
    return Promise.resolve();
  }

  thaw(): Promise<void> {
    return Promise.resolve();
  }

  /** There is nothing that we would carry. */
  dump(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async restore(migration: string): Promise<undefined> {
    await this.#of(migration).restored.opened;
  }

  resume(migration: string): Promise<void> {
    this.#forget(migration);
    return Promise.resolve();
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  #of(migration: string): Gates {
    let gates = this.#gates.get(migration);
    if (gates === undefined) {
      gates = { freezeAsked: gate(), restored: gate() };
      this.#gates.set(migration, gates);
    }
    return gates;
  }

  /** Whoever still waits is let go: the migration's own state tells how it ended. */
  #forget(migration: string): void {
    const gates = this.#gates.get(migration);
    this.#gates.delete(migration);
    for (const each of Object.values(gates ?? {}) as Gate[]) each.open();
  }
}
