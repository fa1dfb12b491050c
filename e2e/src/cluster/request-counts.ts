/** What an API server was asked, by its own count. */

/**
 * Requests since it started by verb and resource: `LIST pods`, `PATCH pods/status`. A watch counts when it ends. Who asked
 * is not said: the controller manager's are among them.
 */
export type RequestCounts = Readonly<Record<string, number>>;

/** Reads them from the text of /metrics. */
export function countRequests(metrics: string): RequestCounts {
  const counts: Record<string, number> = {};
  for (const [, labels = '', value = ''] of metrics.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const { verb = '', resource = '', subresource = '' } = labelsOf(labels);
    if (resource === '') continue; // health, metrics, discovery
    const name = `${verb} ${[resource, subresource].filter(Boolean).join('/')}`;
    counts[name] = (counts[name] ?? 0) + Number(value);
  }
  return counts;
}

/** Only what grew. Both have to be of one run of the API server. */
export function requestsSince(before: RequestCounts, after: RequestCounts): RequestCounts {
  return Object.fromEntries(
    Object.entries(after)
      .map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
      .filter(([, more]) => more > 0),
  );
}

function labelsOf(text: string): Partial<Record<string, string>> {
  const labels: Partial<Record<string, string>> = {};
  for (const [, name = '', value = ''] of text.matchAll(/(\w+)="([^"]*)"/g)) labels[name] = value;
  return labels;
}
