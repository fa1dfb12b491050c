/** All pods of the cluster, trimmed, for whoever looks after some of them. */
import {
  Reflector,
  type KubeClient,
  type KubeObject,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';
import { trimmed } from './pod.js';

export interface PodWatch {
  get(key: string): KubeObject | undefined;
  /** what a write has answered, trimmed */
  take(object: KubeObject): void;
  bury(object: KubeObject): void;
  /** Tells changes from now on. Returns what ends it. */
  follow(handler: (change: ObjectChange) => void): () => void;
}

export class Pods implements PodWatch {
  private readonly handlers = new Set<(change: ObjectChange) => void>();
  private readonly reflector: Reflector;

  constructor(client: KubeClient, onError: (error: unknown) => void) {
    this.reflector = new Reflector({
      client,
      path: '/api/v1/pods',
      shape: trimmed,
      onChange: (change) => this.handlers.forEach((handler) => handler(change)),
      onError,
    });
  }

  /** Resolves when all are listed, page by page. */
  start(): Promise<void> {
    return this.reflector.start();
  }

  stop(): Promise<void> {
    return this.reflector.stop();
  }

  silentFor(): number {
    return this.reflector.silentFor();
  }

  get(key: string): KubeObject | undefined {
    return this.reflector.get(key);
  }

  values(): IterableIterator<KubeObject> {
    return this.reflector.values();
  }

  take(object: KubeObject): void {
    this.reflector.take(object);
  }

  bury(object: KubeObject): void {
    this.reflector.bury(object);
  }

  follow(handler: (change: ObjectChange) => void): () => void {
    this.handlers.add(handler);
    return () => this.handlers.delete(handler);
  }
}
