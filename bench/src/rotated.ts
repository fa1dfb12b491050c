/** Nobody is always first, and nobody always after the same one. */
export function rotated<Item>(items: readonly Item[], turn: number): Item[] {
  const order = turn % 2 === 0 ? [...items] : [...items].reverse();
  const start = (turn >> 1) % items.length;
  return [...order.slice(start), ...order.slice(0, start)];
}
