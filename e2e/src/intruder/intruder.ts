/** Somebody who reaches an agent over the network, with whatever certificate it has, from a host of the lab. */
import { encodeMessage, type AnyMessage } from '@serval/node-agent';
import { signallingPort, type AgentProcess } from '../fleet/index.js';
import type { Host } from '../lab/index.js';
import type { KeyPair } from './certificates.js';
import type { Answer, Knock } from './knock.js';

const program = new URL('../../dist/intruder/knock.js', import.meta.url).pathname;

export class Intruder {
  constructor(
    private readonly from: Host,
    private readonly shown: KeyPair,
    private readonly more: Pick<Knock, 'maxVersion'> = {},
  ) {}

  tell(agent: AgentProcess, message: AnyMessage): Promise<Answer> {
    return this.post(agent, '/v1/message', encodeMessage(message));
  }

  /** Any body to any path. */
  async post(agent: AgentProcess, path: string, body: Buffer): Promise<Answer> {
    const knock: Knock = {
      address: agent.host.address4,
      port: signallingPort,
      path,
      body: body.toString('base64'),
      ...this.shown,
      ...this.more,
    };
    const answer = await this.from.run(process.execPath, [program], { input: JSON.stringify(knock) });
    return JSON.parse(answer) as Answer;
  }
}
