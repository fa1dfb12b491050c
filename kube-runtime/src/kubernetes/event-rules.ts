/** Pure: what an Event of events.k8s.io/v1 says, and which occurrences are one series. */
import { createHash } from 'node:crypto';
import { microTime } from './micro-time.js';

/** What happened, to what. */
export interface Occurrence {
  object: EventObject;
  type: 'Normal' | 'Warning';
  /** why, one word in CamelCase, at most 128 characters: for programs */
  reason: string;
  /** for people, at most 1,024 bytes, see `cut` */
  message: string;
  /** what was done or failed, one word in CamelCase, at most 128 characters */
  action: string;
}

export interface EventObject {
  apiVersion: string;
  kind: string;
  name: string;
  /** absent for what is in none: its Events are in `default` */
  namespace?: string | undefined;
  uid?: string | undefined;
}

/** Who tells. */
export interface Reporter {
  /** `serval.io/operator`: a qualified name */
  controller: string;
  /** which of them, a pod's name; at most 128 characters */
  instance: string;
}

const mostBytes = 1_024;
/** A name is at most 253 characters long. */
const mostOfName = 236;

export function namespaceOf({ namespace }: EventObject): string {
  return namespace ?? 'default';
}

/** Which object it is: another one of the same name is another. */
export function objectKey({ apiVersion, kind, name, namespace, uid }: EventObject): string {
  return digest([apiVersion, kind, namespace ?? '', name, uid ?? '']);
}

/** The same again belongs to the series. */
export function seriesKey({ object, type, reason, message }: Occurrence): string {
  return digest([objectKey(object), type, reason, message]);
}

/** @param id tells it from the others about the object: sixteen hexadecimal digits */
export function eventName(object: EventObject, id: string): string {
  return `${object.name.slice(0, mostOfName).replace(/[.-]+$/, '')}.${id}`;
}

export function newEvent(
  { object, type, reason, message, action }: Occurrence,
  reporter: Reporter,
  name: string,
  times: { first: Date; last: Date; count: number },
): Record<string, unknown> {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace: namespaceOf(object) },
    eventTime: microTime(times.first),
    reportingController: reporter.controller,
    reportingInstance: reporter.instance,
    ...{ type, reason, action },
    note: message,
    regarding: { ...object },
    ...(times.count > 1 ? seriesPart(times) : {}),
  };
}

/** A merge patch, too. */
export function seriesPart({ last, count }: { last: Date; count: number }): Record<string, unknown> {
  return { series: { count, lastObservedTime: microTime(last) } };
}

/** At most 1,024 bytes of UTF-8, in whole characters; what was cut ends with an ellipsis. */
export function cut(message: string): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= mostBytes) return bytes.toString();
  const ellipsis = '…';
  let end = mostBytes - Buffer.byteLength(ellipsis);
  // Bytes within a character begin with the bits 10.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + ellipsis;
}

/** Messages may be long: they are not kept to be compared. */
function digest(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}
