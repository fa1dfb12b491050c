/** An API server that has one Lease: versions are compared as the real one does, and the network breaks as a test wants. */
import type { KubeRequest } from './client.js';
import { answerError, connectionError } from './errors.js';
import type { Lease } from './lease-rules.js';

export class FakeLeases {
  lease: Lease | undefined;
  readonly log: string[] = [];
  private version = 0;
  /** who gets no answer: `refuse` at once, `lose` after it was done, `hang` for ever */
  private readonly broken = new Map<string, 'refuse' | 'lose' | 'hang'>();

  break(who: string, how: 'refuse' | 'lose' | 'hang'): void {
    this.broken.set(who, how);
  }

  mend(who: string): void {
    this.broken.delete(who);
  }

  clientOf(who: string): { request<Answer>(request: KubeRequest): Promise<Answer> } {
    return {
      request: async <Answer>(request: KubeRequest): Promise<Answer> => {
        const how = this.broken.get(who);
        this.log.push(`${who} ${request.method}${how === undefined ? '' : ` ${how}`}`);
        await Promise.resolve();
        if (how === 'hang') await new Promise(() => undefined);
        const answer = how === 'refuse' ? undefined : this.answer(request);
        if (how !== undefined) throw connectionError(who, new Error(how));
        return structuredClone(answer) as Answer;
      },
    };
  }

  /** As somebody with kubectl does it. */
  write(lease: Lease | undefined): void {
    this.lease = lease && { ...lease, metadata: { ...lease.metadata, resourceVersion: `${++this.version}` } };
  }

  private answer({ method, body }: KubeRequest): Lease {
    const given = body as Lease;
    if (method === 'POST') {
      if (this.lease !== undefined) throw answerError('lease', 409, '');
      this.write(given);
    } else if (this.lease === undefined) throw answerError('lease', 404, '');
    if (method === 'PUT') {
      if (given.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
        throw answerError('lease', 409, '');
      this.write(given);
    }
    return this.lease as Lease;
  }
}
