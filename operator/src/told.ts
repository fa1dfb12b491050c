/** What happened to an object, for people: an Event. */
import type { ObjectMeta } from '@serval/api';

export interface Told {
  object: { apiVersion: string; kind: string; metadata: ObjectMeta };
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}
