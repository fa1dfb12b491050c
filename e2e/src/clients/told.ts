/** What a client was told by replicas. */
export interface Answer {
  /** the replica's */
  name: string;
  /** where the replica sees the client, ADDRESS:PORT ([ADDRESS]:PORT of IPv6) */
  seen?: string;
  /** where the client believes the replica to be, from getpeername() or the answer's sender, likewise */
  peer?: string;
  /** ms */
  connectMs?: number;
}

export interface Told {
  /** in the order in which they came; each by a connection of its own */
  answers: Answer[];
  /** how often each replica answered, by name */
  counts: Record<string, number>;
}

export function told(answers: Answer[]): Told {
  const counts: Record<string, number> = {};
  for (const { name } of answers) counts[name] = (counts[name] ?? 0) + 1;
  return { answers, counts };
}

/** An address or a name, and a port, as URLs and we write them. */
export function hostPort(host: string, port: number | string): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An IPv4 address as an IPv6 socket takes it. */
export function mappedAddress(address4: string): string {
  return `::ffff:${address4}`;
}

/** Objects of a text with one JSON object a line. */
export function jsonLines<Row>(text: string): Row[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
}
