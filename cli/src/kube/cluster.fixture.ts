/** A cluster of tests: objects by their paths, and no server. */
import { ServalError } from '@serval/api';
import type { ExecRequest, ExecResult, KubeRequest, ObjectChange } from '@serval/kube-runtime/kubernetes';
import type { Cluster, Watch, WatchOptions } from './cluster.js';
import type { KubeThing } from './types.js';

export class FakeCluster implements Cluster {
  readonly namespace = 'default';
  readonly context = 'test';
  readonly contexts = ['test', 'other'];
  readonly server = 'https://192.0.2.1:6443';
  ownCrds: Cluster['ownCrds'] = {};
  /** by the path of each */
  readonly objects = new Map<string, object>();
  /** what is asked for without being an object: `METHOD path` to its answer */
  readonly answers = new Map<string, (request: KubeRequest) => unknown>();
  readonly asked: KubeRequest[] = [];
  readonly execs: ExecRequest[] = [];
  /** what a command says */
  runs: (request: ExecRequest) => ExecResult = () => ({ code: 0, out: '[]', error: '' });
  isClosed = false;
  private readonly watches = new Set<WatchOptions>();

  put(path: string, object: object): void {
    const isNew = !this.objects.has(path);
    this.objects.set(path, object);
    this.tell(path, { type: isNew ? 'added' : 'modified', object: object as KubeThing });
  }

  remove(path: string): void {
    const object = this.objects.get(path) as KubeThing;
    this.objects.delete(path);
    this.tell(path, { type: 'deleted', object });
  }

  /** All watches hear of it. */
  fail(error: unknown): void {
    for (const { onError } of this.watches) onError(error);
  }

  request<Answer>(request: KubeRequest): Promise<Answer> {
    this.asked.push(request);
    const { method = 'GET', path } = request;
    try {
      return Promise.resolve(this.answer(method, request) as Answer);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(path));
    }
  }

  async *lines({ path }: KubeRequest): AsyncGenerator<string> {
    await Promise.resolve();
    const text = this.answers.get(`GET ${path}`);
    if (text === undefined) throw refusal(path, 404);
    yield* text({ path }) as string[];
  }

  watch(options: WatchOptions): Watch {
    this.watches.add(options);
    for (const [path, object] of this.objects)
      if (isIn(path, options)) options.onChange({ type: 'added', object: object as KubeThing });
    return { begun: Promise.resolve(), stop: () => Promise.resolve(void this.watches.delete(options)) };
  }

  exec(request: ExecRequest): Promise<ExecResult> {
    this.execs.push(request);
    return Promise.resolve().then(() => this.runs(request));
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  private answer(method: string, request: KubeRequest): unknown {
    const { path } = request;
    const said = this.answers.get(`${method} ${path}`);
    if (said !== undefined) return said(request);
    if (method === 'DELETE') return this.remove(path);
    const object = this.objects.get(path);
    if (object !== undefined) return object;
    const items = [...this.objects].filter(([each]) => parentOf(each) === path || isOfAll(each, path));
    if (items.length === 0 && isObject(path)) throw refusal(path, 404);
    return { items: items.map(([, each]) => each) };
  }

  private tell(path: string, change: ObjectChange): void {
    for (const watch of this.watches) if (isIn(path, watch)) watch.onChange(change);
  }
}

/** As kube-runtime makes it of an answer. */
export function refusal(subject: string, status: number): ServalError {
  const code = status === 404 ? 'ERR_NOT_FOUND' : 'ERR_NO_PERMISSION';
  const reason = status === 404 ? 'it is not there' : 'it is forbidden';
  return new ServalError(code, { subject, reason, remedy: 'Do something', details: { status } });
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** A collection of all namespaces holds those of each. */
function isOfAll(path: string, collection: string): boolean {
  return parentOf(path).replace(/\/namespaces\/[^/]+/, '') === collection;
}

/** The last part of a collection's path is a plural; tests name their objects so that none is. */
function isObject(path: string): boolean {
  return !path.endsWith('s');
}

function isIn(path: string, { path: collection, fieldSelector = '' }: WatchOptions): boolean {
  const [, name] = /^metadata\.name=(.*)$/.exec(fieldSelector) ?? [];
  return parentOf(path) === collection && (name === undefined || path.endsWith(`/${name}`));
}
