/** Hostile objects written to an API server, many at a time; what is wrong with its answers is noted. */
import { answerError, statusOf, type KubeClient } from '@serval/kube-runtime/kubernetes';
import { Chance } from './chance.js';
import type { Expected, Hostile, HostileKind } from './hostile-objects.js';
import type { Draft } from './hostile-twists.js';
import { faultOfRefusal } from './hostile-verdict.js';
import { group } from './hostile-world.js';
import { inParallel } from './in-parallel.js';
import type { KubeUser } from './kubeconfig.js';
import { requestKube } from './request.js';

export const plurals = { ServalService: 'servalservices', ServalMigration: 'servalmigrations' } as const;
const atOnce = 32;
const [missing, conflict] = [404, 409];
const finalizer = 'example.com/hold';
/** Names that are made, changed and deleted over and over. */
const restless = 12;
/** On connections of their own: the server ends one that carries several of these at once, by HTTP/2, with all that is on it. */
const huge = 1_000_000;

export class HostileRun {
  refused = 0;
  accepted = 0;
  readonly faults: string[] = [];
  /** what the last object of this kind and name has to become, by `Kind name` */
  readonly expected = new Map<string, Expected>();
  /** deleted, but for their finalizer */
  readonly held: string[] = [];

  constructor(
    private readonly client: KubeClient,
    private readonly admin: KubeUser,
    private readonly seed: number,
  ) {}

  async write(objects: Iterable<Hostile>): Promise<void> {
    await inParallel(objects, atOnce, (hostile) => this.one(hostile));
  }

  /** Lets go what was held. */
  async release(): Promise<void> {
    await inParallel(this.held.splice(0), atOnce, (path) =>
      this.patch(path, { metadata: { finalizers: null } }),
    );
  }

  private async one({ number, kind, draft, validation, expected }: Hostile): Promise<void> {
    const chance = new Chance(this.seed ^ Math.imul(number + 1, 0x9e3779b1));
    if (number % 50 === 0) await this.shake(kind, chance);
    const path = `${group}/${plurals[kind]}`;
    let name: string;
    try {
      name = (await this.post(path, validation, draft)).metadata.name;
    } catch (error) {
      this.refused++;
      // The name may be taken: by an earlier one of these.
      const isTaken = statusOf(error) === conflict;
      const fault = isTaken ? undefined : faultOfRefusal(expected, error);
      if (fault !== undefined) this.note(number, kind, expected, fault);
      return;
    }
    this.accepted++;
    if (expected.verdict === 'refused') this.note(number, kind, expected, 'it was accepted');
    this.expected.set(`${kind} ${name}`, expected);
    await this.later(kind, `${path}/${name}`, `${kind} ${name}`, chance);
  }

  private async post(
    path: string,
    validation: string,
    draft: Draft,
  ): Promise<{ metadata: { name: string } }> {
    const query = { fieldValidation: validation };
    const text = JSON.stringify(draft);
    if (text.length < huge) return this.client.request({ method: 'POST', path, query, body: draft });
    const answer = await requestKube(this.admin, 'POST', `${path}?fieldValidation=${validation}`, {
      body: draft,
    });
    if (answer.status >= 300) throw answerError(`POST ${path}`, answer.status, answer.text);
    return JSON.parse(answer.text) as { metadata: { name: string } };
  }

  /** What becomes of an accepted one: it is changed, well or badly, deleted, deleted and held, or left alone. */
  private async later(kind: HostileKind, path: string, key: string, chance: Chance): Promise<void> {
    const what = chance.below(100);
    if (what < 15) await this.changeBadly(kind, path, key);
    else if (what < 25 && kind === 'ServalService')
      await this.patch(path, { spec: { maxDelayMs: chance.below(1_000) } });
    else if (what < 55) {
      this.expected.delete(key);
      if (what < 30) {
        await this.patch(path, { metadata: { finalizers: [finalizer] } });
        this.held.push(path);
      }
      await this.client.request({ method: 'DELETE', path });
    }
  }

  private async changeBadly(kind: HostileKind, path: string, key: string): Promise<void> {
    const [spec, fields, remedy] =
      kind === 'ServalService'
        ? [{ maxDelayMs: -1 }, ['spec.maxDelayMs'], undefined]
        : [{ deadlineSeconds: 77 }, ['spec'], /create another/];
    const expected: Expected = {
      twists: ['changed badly'],
      verdict: 'refused',
      fields,
      ...(remedy === undefined ? {} : { remedy }),
    };
    const error = await this.patch(path, { spec }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    const fault = error === undefined ? 'the change was accepted' : faultOfRefusal(expected, error);
    if (fault !== undefined) this.faults.push(`${key}: ${fault}`);
  }

  /** Makes, changes, deletes and makes one name again, as fast as it goes; others do so too. */
  private async shake(kind: HostileKind, chance: Chance): Promise<void> {
    const name = `restless-${chance.below(restless)}`;
    const path = `${group}/${plurals[kind]}`;
    const isService = kind === 'ServalService';
    const body = {
      apiVersion: 'serval.io/v1alpha1',
      kind,
      metadata: { name },
      spec: isService ? { ports: [{ port: 80 }], selector: { all: 'yes' } } : { workload: { name: 'web-0' } },
    };
    const moves = [
      () => this.client.request({ method: 'POST', path, body }),
      () =>
        isService
          ? this.patch(`${path}/${name}`, { spec: { ports: [{ port: 81 }] } })
          : this.patch(`${path}/${name}`, { metadata: { labels: { a: 'b' } } }),
      () => this.client.request({ method: 'DELETE', path: `${path}/${name}` }),
      () => this.client.request({ method: 'POST', path, body }),
    ];
    for (const move of moves)
      await move().catch((error: unknown) => {
        if (![missing, conflict].includes(statusOf(error) ?? 0)) throw error;
      });
  }

  private patch(path: string, body: object): Promise<unknown> {
    return this.client.request({ method: 'PATCH', path, contentType: 'application/merge-patch+json', body });
  }

  private note(number: number, kind: string, { twists }: Expected, fault: string): void {
    this.faults.push(`${kind} ${number} (${twists.join(' and ') || 'nothing odd'}): ${fault}`);
  }
}
