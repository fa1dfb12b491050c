/**
 * Keeps the authority: its Secret, and the ConfigMap by which agents know whom to trust. Each look begins with what is there,
 * takes the steps that are due one by one, and may be killed between any two.
 */
import { randomBytes } from 'node:crypto';
import { ServalError } from '@serval/api';
import { authoritiesKey, authoritiesName } from '@serval/kube-runtime';
import { statusOf, type KubeClient } from '@serval/kube-runtime/kubernetes';
import { newAuthority, type Pair } from '@serval/kube-runtime/x509';
import {
  after,
  nextStep,
  trustedBy,
  type Authority,
  type AuthorityState,
  type AuthorityStep,
  type AuthorityTimes,
} from './authority-plan.js';
import {
  authorityOf,
  readSecret,
  secretName,
  secretParts,
  trustedIn,
  withState,
} from './authority-secret.js';
import type { DataObject } from './kube-types.js';

export interface AuthorityOptions {
  client: Pick<KubeClient, 'request'>;
  /** of the Secret and the ConfigMap */
  namespace: string;
  times: AuthorityTimes;
  /** what was done, for people: an Event of the Secret */
  tell: (told: { secret: DataObject; reason: string; message: string }) => void;
  /** ms since 1970; default: by the clock */
  now?: () => number;
}

export const fieldManager = 'serval-operator';
const [missing, conflict] = [404, 409];
/** One look takes no more: what is left is for the next. */
const mostSteps = 8;

export class AuthorityKeeper {
  private state: AuthorityState | undefined;

  constructor(private readonly options: AuthorityOptions) {}

  /** It signs, as far as was seen last. */
  get current(): Authority | undefined {
    return this.state?.current;
  }

  /** Brings everything to where it should be now. @throws ServalError ERR_CERTIFICATE, and as requests do */
  async keep(): Promise<void> {
    for (let steps = 0; steps < mostSteps; steps++) {
      const secret = (await this.read<DataObject>('secrets', secretName)) ?? (await this.create());
      if (secret === undefined) continue;
      const state = readSecret(secret);
      await this.publish(trustedBy(state));
      // Nobody is given a certificate that others could not have heard of.
      this.state = state;
      const step = nextStep(state, this.options.times, this.now());
      if (step.do === 'nothing') return;
      await this.take(step, state, secret);
    }
  }

  private async take(step: AuthorityStep, state: AuthorityState, secret: DataObject): Promise<void> {
    const made = step.do === 'make' ? await this.make() : undefined;
    const body = withState(secret, after(step, state, this.now(), made));
    try {
      // With the version that was read: what somebody else has written meanwhile is looked at first.
      await this.options.client.request({ method: 'PUT', path: this.path('secrets', secretName), body });
    } catch (error) {
      if (statusOf(error) === conflict || statusOf(error) === missing) return;
      throw error;
    }
    const word = words[step.do];
    if (word !== undefined) this.options.tell({ secret, ...word });
  }

  /** @returns undefined where somebody else was a moment faster, whose Secret it is then */
  private async create(): Promise<DataObject | undefined> {
    const published = await this.read<DataObject>('configmaps', authoritiesName);
    const now = this.now();
    const previous = trustedIn(published?.data?.[authoritiesKey] ?? '').filter(({ until }) => until > now);
    const state = { current: await this.make(), signsSince: now, previous, isRotationWanted: false };
    const { annotations, ...data } = secretParts(state);
    try {
      // By apply, since RBAC can bind that to a name; in a name of its own, so that a second one is a conflict.
      const made = await this.apply<DataObject>(
        'secrets',
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: secretName, annotations }, ...data },
        { fieldManager: `${fieldManager}-${randomBytes(4).toString('hex')}` },
      );
      const lost = previous.length === 0 ? '' : '; the one before is lost, and trusted for a while longer';
      this.options.tell({ secret: made, reason: 'AuthorityMade', message: `a new authority signs${lost}` });
      return made;
    } catch (error) {
      if (statusOf(error) === conflict) return undefined;
      throw error;
    }
  }

  private async publish(trusted: string): Promise<void> {
    const published = await this.read<DataObject>('configmaps', authoritiesName);
    if (published?.data?.[authoritiesKey] === trusted) return;
    const metadata = { name: authoritiesName };
    const data = { [authoritiesKey]: trusted };
    await this.apply(
      'configmaps',
      { apiVersion: 'v1', kind: 'ConfigMap', metadata, data },
      { fieldManager, force: true },
    );
  }

  private async make(): Promise<Authority> {
    const { cert, key }: Pair = await newAuthority(this.options.times.lifeMs);
    return authorityOf('tls', cert, key);
  }

  private async read<Found>(kind: Collection, name: string): Promise<Found | undefined> {
    try {
      return await this.options.client.request<Found>({ path: this.path(kind, name) });
    } catch (error) {
      if (error instanceof ServalError && statusOf(error) === missing) return undefined;
      throw error;
    }
  }

  private apply<Made>(
    kind: Collection,
    body: DataObject,
    query: { fieldManager: string; force?: boolean },
  ): Promise<Made> {
    const path = this.path(kind, body.metadata.name);
    return this.options.client.request<Made>({
      method: 'PATCH',
      path,
      query,
      contentType: 'application/apply-patch+yaml',
      body,
    });
  }

  private path(kind: Collection, name: string): string {
    return `/api/v1/namespaces/${encodeURIComponent(this.options.namespace)}/${kind}/${name}`;
  }

  private now(): number {
    return this.options.now?.() ?? Date.now();
  }
}

type Collection = 'secrets' | 'configmaps';

const words: Partial<Record<AuthorityStep['do'], { reason: string; message: string }>> = {
  make: { reason: 'AuthorityMade', message: 'the next authority is made, and is published before it signs' },
  promote: { reason: 'AuthorityChanged', message: 'the next authority signs; the one before stays trusted' },
  retire: { reason: 'AuthorityRetired', message: 'an old authority is trusted no more' },
};
