/**
 * Requests to the API server, with the configuration and credentials of @kubernetes/client-node. What that would do on each
 * request is done once here: it makes a pool of connections, and so a TLS handshake, for every single one.
 */
import { createHash } from 'node:crypto';
import type { RequestOptions } from 'node:https';
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { fetch, type Dispatcher, type Response } from 'undici';
import { answerError, connectionError, credentialsError } from './errors.js';

export interface KubeRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** beginning with a slash, without query */
  path: string;
  query?: Readonly<Record<string, string | number | boolean | undefined>>;
  body?: unknown;
  /** of the body; default application/json */
  contentType?: string;
  /** given up after so long without an answer; default 10 s */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const answerMs = 10_000;

interface Connections {
  /** of the credentials that they were made with */
  key: string;
  dispatcher: Dispatcher | undefined;
}

export class KubeClient {
  private connections: Connections | undefined;

  /** @param userAgent `serval-operator/0.1.0`: by it the API server's log tells who asked */
  constructor(
    private readonly config: KubeConfig,
    private readonly userAgent: string,
  ) {}

  /** From a kubeconfig; without its path as kubectl finds it, in a pod by the pod's service account. */
  static load(userAgent: string, kubeconfig?: string): KubeClient {
    const config = new KubeConfig();
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
    return new KubeClient(config, userAgent);
  }

  /** The answer's body. @throws ServalError as errors.ts says */
  async request<Answer = unknown>(request: KubeRequest): Promise<Answer> {
    const limit = AbortSignal.timeout(Math.ceil(request.timeoutMs ?? answerMs));
    const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
    const response = await this.send({ ...request, signal });
    return read(request, response) as Promise<Answer>;
  }

  /**
   * Lines of an answer that has no end, as they come, and an empty one when the server begins to answer; it ends when the
   * signal says so, or the server does.
   */
  async *lines(request: KubeRequest & { signal: AbortSignal }): AsyncGenerator<string> {
    const response = await this.send(request);
    yield '';
    if (response.body === null) return;
    const decoder = new TextDecoder();
    let begun = '';
    try {
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        const parts = (begun + decoder.decode(chunk, { stream: true })).split('\n');
        begun = parts.pop() ?? '';
        yield* parts;
      }
    } catch (cause) {
      throw connectionError(nameOf(request), cause);
    }
  }

  /** Ends what is open. */
  async close(): Promise<void> {
    await this.connections?.dispatcher?.destroy();
    this.connections = undefined;
  }

  private async send(request: KubeRequest & { signal: AbortSignal }): Promise<Response> {
    const { method = 'GET', body, contentType = 'application/json', signal } = request;
    const url = this.url(request);
    const { headers, dispatcher } = await this.credentials(url.href).catch((cause: unknown) => {
      throw credentialsError(cause);
    });
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: {
          ...headers,
          'user-agent': this.userAgent,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': contentType }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(dispatcher === undefined ? {} : { dispatcher }),
        signal,
      });
    } catch (cause) {
      throw connectionError(nameOf(request), cause);
    }
    if (response.ok) return response;
    throw answerError(nameOf(request), response.status, await response.text().catch(() => ''));
  }

  private url({ path, query = {} }: KubeRequest): URL {
    const url = new URL((this.config.getCurrentCluster()?.server ?? 'https://localhost') + path);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    return url;
  }

  /** Tokens and certificates change while we run: the connections go with those that they were made with. */
  private async credentials(
    url: string,
  ): Promise<{ headers: Record<string, string>; dispatcher: Dispatcher | undefined }> {
    const context = new RequestContext(url, HttpMethod.GET);
    await this.config.applySecurityAuthentication(context);
    const options: RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    const { ca, cert, key, servername, rejectUnauthorized } = options;
    const parts = [ca, cert, key, servername, rejectUnauthorized].map(String).join('\n');
    const fingerprint = createHash('sha256').update(parts).digest('hex');
    if (this.connections?.key !== fingerprint) {
      // What is open on the old ones ends by itself.
      void this.connections?.dispatcher?.close();
      this.connections = { key: fingerprint, dispatcher: context.getDispatcher() };
    }
    return { headers: context.getHeaders(), dispatcher: this.connections.dispatcher };
  }
}

async function read(request: KubeRequest, response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (cause) {
    throw connectionError(nameOf(request), cause);
  }
}

function nameOf({ method = 'GET', path }: KubeRequest): string {
  return `${method} ${path}`;
}
