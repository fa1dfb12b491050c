import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { enterArguments } from './namespaces.js';
import type { NetworkNode } from './network-node.js';
import { parseFrame, type Packet } from './packet.js';
import { readPcap } from './pcap.js';
import { isIdle, tool } from './processes.js';

/** A place to listen at. */
export interface RecordPoint {
  at: NetworkNode;
  interface: string;
  /** as seen from `at` ('both'; a point between two others then shows each packet once for each of them) */
  direction?: 'in' | 'out' | 'both';
  /** the host that everything which comes in here is from: lets the audit be exact */
  behind?: string;
}

export interface RecorderOptions {
  /** a tcpdump expression; all packets without it */
  filter?: string;
  /** bytes kept of each packet (192: all headers) */
  snaplen?: number;
  /** KiB of kernel buffer for each point (8192) */
  buffer?: number;
}

export interface RecordedPacket extends Packet {
  /** CLOCK_REALTIME in milliseconds, with microseconds as the fraction */
  time: number;
  /** name of the point, like `s1-router/h1/in` */
  point: string;
  /** as the point says */
  behind?: string;
}

export interface PointReport {
  name: string;
  /** packets in the recording */
  captured: number;
  /** packets that passed the point unrecorded, since the kernel's buffer was full */
  dropped: number;
}

export interface Recording {
  /** ordered by time */
  packets: RecordedPacket[];
  points: PointReport[];
  /** sum over the points: when it is not 0, nothing follows from a packet's absence */
  dropped: number;
}

interface Capture {
  point: RecordPoint;
  name: string;
  file: string;
  child: ChildProcess;
  ended: Promise<number | null>;
  /** what tcpdump wrote to standard error so far */
  words: () => string;
}

let captureCount = 0;

/** Captures in progress; made by `startRecorder`. */
export class Recorder {
  private result: Promise<Recording> | undefined;

  constructor(private readonly captures: readonly Capture[]) {}

  /**
   * Ends the captures, after what has passed until now was written down. May be repeated: the result is the same.
   * @throws ServalError ERR_KERNEL when a capture had ended before
   */
  stop(): Promise<Recording> {
    this.result ??= this.finish();
    return this.result;
  }

  private async finish(): Promise<Recording> {
    await settle(this.captures);
    const results = await Promise.all(this.captures.map(finishCapture));
    const packets = results.flatMap((result) => result.packets).sort((a, b) => a.time - b.time);
    const points = results.map((result) => result.report);
    return { packets, points, dropped: points.reduce((sum, point) => sum + point.dropped, 0) };
  }
}

/**
 * Starts a tcpdump at every point; when this resolves all of them listen.
 * @param folder for the files, which are gone after `stop`
 * @throws ServalError ERR_UNSUPPORTED without tcpdump; ERR_BAD_INPUT for a wrong interface or filter
 */
export async function startRecorder(
  folder: string,
  points: readonly RecordPoint[],
  options: RecorderOptions = {},
): Promise<Recorder> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const captures = points.map((point) => startCapture(folder, point, options));
  try {
    await Promise.all(captures.map(listening));
  } catch (error) {
    captures.forEach(abandon);
    throw error;
  }
  return new Recorder(captures);
}

function startCapture(folder: string, point: RecordPoint, options: RecorderOptions): Capture {
  const direction = point.direction ?? 'both';
  const file = `${folder}/${process.pid}-${(captureCount += 1)}.pcap`;
  const args = tcpdumpArguments(point, file, options);
  // In a session of its own, so that Ctrl-C in the terminal ends the capture through stop() only. Of a pod it enters
  // the network namespace alone: no process of the pod's, and not stopped with them.
  // It wakes for every packet, and has a buffer: it may wait for the processor, what is watched should not.
  const command = [tool('nice'), '-n', '10', tool('tcpdump'), ...args];
  const child = spawn(tool('nsenter'), [...enterArguments(point.at.netns), '--', ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (words += text));
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', (error) => {
      words += error.message;
      resolve(null);
    });
    child.on('close', resolve);
  });
  return {
    point,
    name: `${point.at.name}/${point.interface}/${direction}`,
    file,
    child,
    ended,
    words: () => words,
  };
}

function tcpdumpArguments(point: RecordPoint, file: string, options: RecorderOptions): string[] {
  const { buffer = 8192, snaplen = 192, filter } = options;
  const direction = point.direction === undefined || point.direction === 'both' ? 'inout' : point.direction;
  const what = ['-i', point.interface, '-Q', direction, '-n', '-p', '-s', String(snaplen)];
  const how = ['-U', '--immediate-mode', '-B', String(buffer), '-Z', 'root', '-w', file];
  return [...what, ...how, '--', ...(filter === undefined ? [] : [filter])];
}

async function listening(capture: Capture): Promise<void> {
  const begun = new Promise<true>((resolve) => {
    capture.child.stderr?.on('data', () => {
      if (capture.words().includes('listening on')) resolve(true);
    });
  });
  if ((await Promise.race([begun, capture.ended])) === true) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `recorder at ${capture.name}`,
    reason: capture.words().trim().split('\n').at(-1) ?? 'tcpdump ended',
    remedy: 'Check the interface and the filter',
  });
}

/** Waits until tcpdump has written down what the kernel holds for it; two seconds at most, since more may come. */
async function settle(captures: readonly Capture[]): Promise<void> {
  const total = () =>
    captures.reduce((sum, { file }) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
  let before = -1;
  for (let round = 0; round < 50; round += 1) {
    const now = total();
    if (now === before && captures.every(({ child }) => isIdle(child.pid ?? 0))) return;
    before = now;
    await delay(40);
  }
}

async function finishCapture(capture: Capture): Promise<{ packets: RecordedPacket[]; report: PointReport }> {
  const { child, name, point, file } = capture;
  const wasRunning = child.exitCode === null && child.signalCode === null && child.kill('SIGINT');
  const exitCode = await capture.ended;
  const dropped = /^(\d+) packets? dropped by kernel/m.exec(capture.words())?.[1];
  if (!wasRunning || exitCode !== 0 || dropped === undefined) {
    throw new ServalError('ERR_KERNEL', {
      subject: `recorder at ${name}`,
      reason: `tcpdump ended early: ${capture.words().trim().split('\n').at(-1)}`,
      remedy: 'Stop recorders before you remove what they listen at',
    });
  }
  const packets = readPcap(readFileSync(file)).map(({ time, length, data }) => ({
    ...parseFrame(data, length),
    time,
    point: name,
    ...(point.behind === undefined ? {} : { behind: point.behind }),
  }));
  rmSync(file);
  return { packets, report: { name, captured: packets.length, dropped: Number(dropped) } };
}

function abandon({ child, file }: Capture): void {
  child.kill('SIGKILL');
  rmSync(file, { force: true });
}
