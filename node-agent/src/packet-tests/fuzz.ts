/**
 * The fuzzer: random and mutated packets against both programs. Each must come out as it went in, translated as the
 * oracle says with every checksum right that was right before, or dropped and counted exactly once.
 */
import { isNativeError } from '../native.js';
import { salReason } from '../datapath/abi.generated.js';
import { dropReasons, serviceReasons } from '../datapath/reasons.js';
import type { DropReason } from '../datapath/types.js';
import { corpus, fuzzPods, type Seedling } from './fuzz-corpus.js';
import { nextFrame } from './fuzz-mutate.js';
import { oracleRules, type DropCounts, type Harness, type Variant } from './harness.js';
import { describeFrame, wrongChecksums, wrongInIpPacket } from './oracle-checksums.js';
import { meets, Oracle, type Expectation } from './oracle.js';
import { Random } from './prng.js';
import { dropVerdict } from './runner.js';

export interface FuzzOptions {
  packets: number;
  seed: number;
  /** packets between two readings of the drop counters; 1 finds out which packet was miscounted */
  batch?: number;
}

export interface FuzzReport {
  seed: number;
  packets: number;
  packetsPerSecond: number;
  untouched: number;
  translated: number;
  dropped: Record<DropReason, number>;
  /** frames that BPF_PROG_TEST_RUN itself doesn't take */
  refused: number;
  /** kept packets whose replay was checked */
  kept: number;
  /** the first few */
  failures: string[];
}

const passed = -1;
const failuresShown = 5;
const names = Object.fromEntries(Object.entries(salReason).map(([name, number]) => [number, name])) as Record<
  number,
  DropReason
>;

export function fuzz(harness: Harness, options: FuzzOptions): FuzzReport {
  const fuzzer = new Fuzzer(harness, options);
  return fuzzer.run();
}

class Fuzzer {
  private readonly random: Random;
  private readonly seedlings: Seedling[];
  private readonly oracle: Oracle;
  private readonly report: FuzzReport;
  /** drops since the last reading: certain ones by reason, and those that had several reasons to choose from */
  private tally = new Map<number, number>();
  private ambiguous: number[][] = [];
  private recent: string[] = [];

  constructor(
    private readonly harness: Harness,
    private readonly options: FuzzOptions,
  ) {
    this.random = new Random(options.seed);
    this.seedlings = corpus();
    this.oracle = new Oracle(
      fuzzPods.flatMap(({ pod, rules }) => oracleRules(pod, rules)),
      fuzzPods.filter(({ held }) => held).map(({ pod }) => pod),
      fuzzPods.filter(({ quiet }) => quiet).map(({ pod }) => pod),
    );
    const dropped = Object.fromEntries(dropReasons.map((name) => [name, 0])) as Record<DropReason, number>;
    const zero = { packets: 0, packetsPerSecond: 0, untouched: 0, translated: 0, refused: 0, kept: 0 };
    this.report = { seed: options.seed, ...zero, dropped, failures: [] };
  }

  run(): FuzzReport {
    this.harness.clear();
    for (const { pod, rules, ...marks } of fuzzPods) {
      this.harness.install(pod, rules);
      this.harness.markPod(pod, marks);
    }
    const variants = this.harness
      .variants()
      .flatMap(({ variant, lacks }) => (lacks === undefined ? [variant] : []));
    const start = process.hrtime.bigint();
    for (
      let batch = 0;
      this.report.packets < this.options.packets && this.report.failures.length < failuresShown;
      batch++
    ) {
      this.runBatch(variants[batch % variants.length] as Variant);
      if (batch % 20 === 19) this.forgetFragments();
    }
    this.report.packetsPerSecond = Math.round(
      this.report.packets / (Number(process.hrtime.bigint() - start) / 1e9),
    );
    this.harness.clear();
    return this.report;
  }

  /** Before the map is full: what it then forgets the oracle would have to guess. */
  private forgetFragments(): void {
    this.harness.forgetFragments();
    this.oracle.forgetFragments();
  }

  private runBatch(variant: Variant): void {
    const before = this.harness.drops();
    this.tally = new Map();
    this.ambiguous = [];
    this.recent = [];
    const count = Math.min(this.options.batch ?? 1000, this.options.packets - this.report.packets);
    for (let i = 0; i < count; i++) this.runOne(variant);
    this.checkCounters(before, this.harness.drops());
    for (const { pod } of fuzzPods) this.checkKept(pod);
  }

  private runOne(variant: Variant): void {
    const from = this.random.pick(this.seedlings);
    const frame = nextFrame(from, this.random, this.seedlings);
    this.report.packets++;
    // Taken by BPF_PROG_TEST_RUN of no kernel, or of older ones only.
    if (frame.length < 34) {
      this.report.refused++;
      return;
    }
    const expectation = this.oracle.expect(from.pod, from.direction, frame);
    // The checksum of a packet that is dropped half written is nobody's business.
    const checksumComplete = variant.checksumComplete && expectation.drops.length === 0;
    try {
      const program = this.harness.program(from.pod, from.direction, variant.kernelContext);
      const { verdict, data } = program.run({ data: frame, checksumComplete });
      if (verdict === passed) this.checkPassed(from, variant, frame, data, expectation);
      else this.noteDrop(from, variant, frame, expectation, verdict);
    } catch (error) {
      if (!isNativeError(error) || error.code !== 'EINVAL') this.fail(from, variant, frame, String(error));
      else this.report.refused++;
    }
  }

  private checkPassed(
    from: Seedling,
    variant: Variant,
    frame: Buffer,
    data: Buffer,
    expectation: Expectation,
  ): void {
    if (!meets(expectation, frame, data, undefined)) {
      const wanted = expectation.packet === undefined ? wish(expectation) : describeFrame(expectation.packet);
      this.fail(from, variant, frame, `expected ${wanted}\n     got ${describeFrame(data)}`);
      return;
    }
    if (expectation.packet === undefined) {
      this.report.untouched++;
      return;
    }
    this.report.translated++;
    const wrongBefore = wrongChecksums(frame).join();
    const wrongAfter = wrongChecksums(data).join();
    if (wrongBefore !== wrongAfter)
      this.fail(from, variant, frame, `checksums wrong before: ${wrongBefore}, after: ${wrongAfter}`);
  }

  private noteDrop(
    from: Seedling,
    variant: Variant,
    frame: Buffer,
    expectation: Expectation,
    verdict: number,
  ): void {
    const [reason] = expectation.drops;
    if (reason === undefined) {
      this.fail(from, variant, frame, `dropped, expected ${wish(expectation)}`);
      return;
    }
    if (verdict !== dropVerdict(from.direction, names[reason] as DropReason))
      this.fail(from, variant, frame, `dropped by verdict ${verdict}, expected ${wish(expectation)}`);
    const certain = expectation.drops.every((other) => other === reason);
    if (certain) this.tally.set(reason, (this.tally.get(reason) ?? 0) + 1);
    else this.ambiguous.push(expectation.drops);
    if (this.options.batch === 1) this.recent.push(`${from.direction} ${describeFrame(frame)}`);
  }

  /** Exactly one counter has gone up for each drop, and it was the right one. */
  private checkCounters(before: DropCounts, after: DropCounts): void {
    let open = this.ambiguous.length;
    for (const name of dropReasons) {
      const counted = after[name].packets - before[name].packets;
      this.report.dropped[name] += counted;
      const surplus = counted - (this.tally.get(salReason[name]) ?? 0);
      const isPossible = surplus === 0 || this.ambiguous.some((reasons) => reasons.includes(salReason[name]));
      open -= surplus;
      if (surplus < 0 || !isPossible)
        this.report.failures.push(
          `seed ${this.options.seed}, up to packet ${this.report.packets}: ${name} counted ${counted}, expected ${counted - surplus} ${this.recent.join()}`,
        );
    }
    if (open !== 0)
      this.report.failures.push(
        `seed ${this.options.seed}, up to packet ${this.report.packets}: ${open} drops were not counted`,
      );
  }

  private checkKept(pod: number): void {
    for (const { packet, kind } of this.harness.takeKept(pod)) {
      this.report.kept++;
      const wrong = wrongInIpPacket(packet);
      if (wrong.length > 0)
        this.report.failures.push(
          `kept ${kind} with wrong checksums (${wrong.join()}): ${packet.toString('hex')}`,
        );
    }
  }

  private fail(from: Seedling, variant: Variant, frame: Buffer, what: string): void {
    this.report.failures.push(
      `seed ${this.options.seed}, packet ${this.report.packets} (${variant.name}, pod ${from.pod}, ${from.direction}) ${describeFrame(frame)}: ${what}`,
    );
  }
}

function wish(expectation: Expectation): string {
  const drops = expectation.drops.map((reason) => `drop ${names[reason]}`);
  return [
    ...(expectation.untouched ? ['untouched'] : []),
    ...(expectation.packet ? ['translation'] : []),
    ...drops,
  ].join(' or ');
}

/** Seed and number of packets by the environment: SERVAL_FUZZ_SEED, SERVAL_FUZZ_PACKETS, SERVAL_FUZZ_BATCH. */
export function fuzzOptions(environment: NodeJS.ProcessEnv = process.env): FuzzOptions {
  const number = (name: string, otherwise: number): number => Number(environment[name] ?? otherwise);
  return {
    packets: number('SERVAL_FUZZ_PACKETS', 1_000_000),
    seed: number('SERVAL_FUZZ_SEED', Date.now() % 0x7fffffff),
    batch: number('SERVAL_FUZZ_BATCH', 1000),
  };
}

/** Reasons that the fuzzer can't provoke: they depend on how full something is, or need longer packets than it makes. */
export const notFuzzed: readonly DropReason[] = [
  ...serviceReasons,
  'HELD_RING_FULL',
  'HELD_TOO_LONG',
  'HELD_OVERFLOW',
];

export function emptyClasses(report: FuzzReport): string[] {
  const empty = dropReasons.filter((name) => report.dropped[name] === 0 && !notFuzzed.includes(name));
  return [
    ...(report.untouched === 0 ? ['untouched'] : []),
    ...(report.translated === 0 ? ['translated'] : []),
    ...empty,
  ];
}

export function fuzzSummary(report: FuzzReport): string {
  const drops = dropReasons
    .filter((name) => report.dropped[name] > 0)
    .map((name) => `${name} ${report.dropped[name]}`);
  return [
    `fuzz seed ${report.seed}: ${report.packets} packets, ${report.packetsPerSecond} a second`,
    `untouched ${report.untouched}, translated ${report.translated}, refused ${report.refused}, kept ${report.kept}`,
    `dropped: ${drops.join(', ')}`,
  ].join('\n');
}
