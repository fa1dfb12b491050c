/** Many pieces of work, some of them at a time. */

/** The first failure is thrown when what was begun has ended; nothing more is begun then. */
export async function inParallel<Item>(
  items: Iterable<Item>,
  atOnce: number,
  work: (item: Item, index: number) => Promise<unknown>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let index = 0;
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); !next.done && failure === undefined; next = rest.next())
      await work(next.value, index++).catch((error: unknown) => (failure ??= { error }));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  if (failure !== undefined) throw failure.error as Error;
}

export function count(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
