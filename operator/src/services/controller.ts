/**
 * ServalServices to Services: reads what there is, does what plan.ts says, writes what status.ts says. Told of a change it
 * looks at that service anew, whatever the change was; whoever was killed in the middle left nothing that this does not see.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  objectName,
  ServalError,
  serviceNameLabel,
  type EndpointSlice,
  type ServalService,
} from '@serval/api';
import type { Outcome, ResourceStore } from '@serval/kube-runtime';
import {
  keyOf,
  statusOf,
  type KubeClient,
  type KubeObject,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';
import type { Told } from '../told.js';
import type { KubeService } from './kube-types.js';
import { isLabelled, labelValue, planService, serviceLabel, type ServicePlan, type Trouble } from './plan.js';
import { readyOf, serviceStatus } from './status.js';

/**
 * Slices of a service come several at a time, and what they change is a status for people: agents read the slices themselves. A
 * start with 1,000 Services to be made took 22.0 s and 201 MB with it, 23.8 s and 222 MB without; 18.8 s since the first status of
 * a new Service waits for them too.
 */
const gatherMs = 250;

/** In whose name fields of Services are owned. */
export const fieldManager = 'serval-operator';

/** The Services of the cluster, as a watch keeps them. */
export interface ServiceCopies {
  get(key: string): KubeObject | undefined;
  /** what a write has answered */
  take(object: KubeObject): void;
}

export interface ServiceControllerDeps {
  client: KubeClient;
  store: ResourceStore;
  services: ServiceCopies;
  /** for people: an Event */
  tell: (told: Told) => void;
  /** RFC 3339; default: by the clock */
  now?: () => string;
  /** A Service that was refused is asked for again after so long, a quarter more or less by chance, ms; default five minutes */
  refusedMs?: number;
}

/** What keeps a Service from being made may go without a word: somebody's virtual IP, a quota. */
const defaultRefusedMs = 300_000;

const [forbidden, missing] = [403, 404];

export class ServiceController {
  /** slices of each service, by `namespace/name` of the service and of the slice */
  private readonly slices = new Map<string, Map<string, EndpointSlice>>();

  constructor(private readonly deps: ServiceControllerDeps) {}

  /**
   * Tells which services to look at: all at first, then each that something happened to. Returns what ends it, and what a
   * watch of Services tells its changes to.
   */
  follow(look: (key: string, ms?: number) => void): {
    end: () => void;
    changed: (change: ObjectChange) => void;
  } {
    const { store } = this.deps;
    const ends = [
      store.watch('EndpointSlice', ({ type, object }) => {
        const owner = this.noteSlice(object, type === 'deleted');
        if (owner !== undefined && store.get('ServalService', owner) !== undefined) look(owner, gatherMs);
      }),
      store.watch('ServalService', ({ object }) => look(objectName(object))),
    ];
    return {
      end: () => ends.forEach((end) => end()),
      changed: ({ object }) => {
        const key = keyOf(object);
        if (isLabelled(object as unknown as KubeService) || store.get('ServalService', key) !== undefined)
          look(key, gatherMs);
      },
    };
  }

  /** @param key `namespace/name` */
  async reconcile(key: string): Promise<Outcome> {
    const { store, services, refusedMs = defaultRefusedMs } = this.deps;
    const service = store.get('ServalService', key);
    const existing = services.get(key) as unknown as KubeService | undefined;
    const plan = planService(service, existing);
    const done = await this.carryOut(key, plan, service);
    // What there is to be told of a new one comes with its first slices.
    if (plan.do === 'apply' && plan.isNew && done.service !== undefined) return { requeueAfterMs: gatherMs };
    if (service !== undefined) await this.writeStatus(key, service, done.service ?? existing, done.trouble);
    return done.trouble?.reason === 'ServiceRefused'
      ? { requeueAfterMs: refusedMs * (0.75 + Math.random() / 2) }
      : {};
  }

  private async carryOut(
    key: string,
    plan: ServicePlan,
    service: ServalService | undefined,
  ): Promise<{ service?: KubeService; trouble?: Trouble }> {
    if (plan.do === 'nothing') return {};
    if (plan.do === 'leave') return { trouble: plan.trouble };
    if (plan.do !== 'apply') return this.relabel(key, plan.do, service);
    try {
      const applied = await this.patch(key, 'application/apply-patch+yaml', plan.service);
      if (service !== undefined)
        this.tell(service, plan.isNew ? 'Created' : 'Updated', `Service ${key} is as it is declared`);
      return { service: applied };
    } catch (error) {
      const trouble = refusal(error);
      if (trouble === undefined) throw error;
      return { trouble };
    }
  }

  /** Of somebody's Service the label is all that is ours. */
  private async relabel(
    key: string,
    what: 'label' | 'unlabel',
    service: ServalService | undefined,
  ): Promise<{ service?: KubeService }> {
    const labels = { [serviceLabel]: what === 'label' ? labelValue : null };
    try {
      const labelled = await this.patch(key, 'application/merge-patch+json', { metadata: { labels } });
      if (service !== undefined)
        this.tell(service, 'Adopted', `Service ${key} was there before, and goes on as it is`);
      return { service: labelled };
    } catch (error) {
      // It went meanwhile, which a watch tells in a moment.
      if (statusOf(error) === missing) return {};
      throw error;
    }
  }

  private async patch(key: string, contentType: string, body: unknown): Promise<KubeService> {
    const [namespace = '', name = ''] = key.split('/').map(encodeURIComponent);
    const answer = await this.deps.client.request<KubeObject>({
      method: 'PATCH',
      path: `/api/v1/namespaces/${namespace}/services/${name}`,
      query: {
        fieldManager,
        ...(contentType === 'application/apply-patch+yaml' ? { force: true } : {}),
      },
      contentType,
      body,
    });
    this.deps.services.take(answer);
    return answer as unknown as KubeService;
  }

  private async writeStatus(
    key: string,
    service: ServalService,
    existing: KubeService | undefined,
    trouble: Trouble | undefined,
  ): Promise<void> {
    const now = this.deps.now?.() ?? new Date().toISOString();
    const slices = [...(this.slices.get(key)?.values() ?? [])];
    const status = serviceStatus({ service, existing, trouble, slices, now });
    if (isDeepStrictEqual({ ...service.status }, status)) return;
    try {
      await this.deps.store.patchStatus('ServalService', key, status);
    } catch (error) {
      // It went meanwhile, which a watch tells in a moment.
      if (statusOf(error) === missing) return;
      throw error;
    }
    if (trouble !== undefined && trouble.reason !== readyOf(service)?.reason)
      this.deps.tell({ object: service, type: 'Warning', ...trouble });
  }

  private tell(object: ServalService, reason: string, message: string): void {
    this.deps.tell({ object, type: 'Normal', reason, message });
  }

  /** Returns whose it is. */
  private noteSlice(slice: EndpointSlice, isGone: boolean): string | undefined {
    const { labels, namespace = 'default' } = slice.metadata;
    const name = labels?.[serviceNameLabel];
    if (name === undefined) return undefined;
    const owner = `${namespace}/${name}`;
    const own = this.slices.get(owner) ?? new Map<string, EndpointSlice>();
    if (isGone) own.delete(objectName(slice));
    else own.set(objectName(slice), slice);
    if (own.size === 0) this.slices.delete(owner);
    else this.slices.set(owner, own);
    return owner;
  }
}

/** It does not fit, or may not be made: a quota, a policy. All else is an error, and tried again. */
function refusal(error: unknown): Trouble | undefined {
  if (!(error instanceof ServalError)) return undefined;
  const isForbidden = statusOf(error) === forbidden;
  if (error.code !== 'ERR_BAD_INPUT' && !isForbidden) return undefined;
  const what = isForbidden
    ? `Kubernetes does not let a Service be made here (${error.reason}): see which quota, policy or role says no; it is tried again`
    : `Kubernetes refuses a Service like this (${error.reason}): change the ServalService so that it fits`;
  return { reason: 'ServiceRefused', message: what };
}
