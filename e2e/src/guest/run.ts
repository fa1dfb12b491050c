/** Run one command on an older kernel: a QEMU guest under TCG, without a network device, gone when it has ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ServalError } from '@serval/api';
import { guestDisk, guestInitrd } from './image.js';
import { guestKernel, type Progress } from './kernel.js';

export interface GuestRun {
  /** where in the guest each file or folder of the host goes; /usr, /lib, /tmp and the like are taken */
  files: Readonly<Record<string, string>>;
  /** a program and its arguments; Node is `node`, and ip, tc and busybox's applets are in PATH */
  command: readonly string[];
  /** the machine is ended this long after its launch */
  timeoutMs: number;
  /** each line of the command's stdout and stderr, as it comes */
  onLine?: (line: string) => void;
  /** what is done before the launch: the download of the kernel, the making of the disk */
  onProgress?: Progress;
}

export interface GuestResult {
  exitCode: number;
  lines: string[];
  /** from the launch until the command was started */
  bootMs: number;
  /** from the launch until the machine was gone */
  totalMs: number;
}

/*
 * Measured from launch to init, medians of four or five boots on a two-core host with other work: without the second
 * line 4.3 s, with it 3.5 s. With mitigations=off too 3.1 s: left out, so that the kernel is one that nodes run. Of no
 * use: one CPU (3.6 s against 3.1 s), q35, no 5-level paging, a vmlinux by PVH (all within the noise), no HPET
 * (slower); microvm did not boot. The same host at load 12 takes 5 s to 16 s: allow a run at least 60 s.
 */
const kernelArguments = [
  'console=ttyS0 quiet panic=-1 oops=panic rdinit=/init',
  'nokaslr no_timer_check audit=0 apparmor=0 cryptomgr.notests',
].join(' ');

/** What one machine's process told until it ended. */
interface Machine {
  exitCode: number | undefined;
  lines: string[];
  bootMs: number;
  totalMs: number;
  timedOut: boolean;
  stderr: string;
}

/** Boot the guest, run the command in it, end it. Throws where the machine ends without the command's exit code. */
export async function runInGuest(run: GuestRun): Promise<GuestResult> {
  const [program] = run.command;
  if (program === undefined || !(run.timeoutMs > 0)) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: 'runInGuest',
      reason: 'it needs a command and a time limit above 0',
      remedy: 'Give both',
    });
  }
  const kernel = await guestKernel(run.onProgress);
  const disk = await guestDisk(kernel, run.onProgress);
  const initrd = await guestInitrd(disk, run.files, run.command);
  const folder = await mkdtemp(join(tmpdir(), 'serval-guest-'));
  try {
    await writeFile(join(folder, 'initrd'), initrd);
    const mark = `guest-${randomBytes(8).toString('hex')}`;
    const machine = await operate(qemuArguments(kernel.image, disk.path, folder, mark), mark, run);
    if (machine.exitCode === undefined) {
      const log = await readFile(join(folder, 'console'), 'latin1').catch(() => '');
      throw ended(run, machine, folder, log);
    }
    const { exitCode, lines, bootMs, totalMs } = machine;
    return { exitCode, lines, bootMs, totalMs };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function qemuArguments(image: string, disk: string, folder: string, mark: string): string[] {
  return [
    ...['-accel', 'tcg,thread=multi', '-smp', '2', '-cpu', 'max', '-M', 'pc', '-m', '1024'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none', '-no-reboot'],
    ...['-kernel', image, '-initrd', join(folder, 'initrd')],
    ...['-append', `${kernelArguments} GUEST_MARK=${mark}`],
    ...['-drive', `if=none,id=base,file=${disk.replaceAll(',', ',,')},format=raw,readonly=on`],
    ...['-device', 'nvme,drive=base,serial=base'],
    ...['-serial', `file:${join(folder, 'console').replaceAll(',', ',,')}`, '-serial', 'stdio'],
  ];
}

/** Start QEMU and follow it to its end. */
async function operate(args: string[], mark: string, run: GuestRun): Promise<Machine> {
  const launched = performance.now();
  const sinceLaunch = () => Math.round(performance.now() - launched);
  const machine: Machine = {
    exitCode: undefined,
    lines: [],
    bootMs: 0,
    totalMs: 0,
    timedOut: false,
    stderr: '',
  };
  // setpriv becomes QEMU, and the kernel ends QEMU should this process die without a word
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => {
    machine.timedOut = true;
    child.kill('SIGKILL');
  }, run.timeoutMs);
  child.stderr.setEncoding('utf8').on('data', (text: string) => (machine.stderr += text));
  const say = (line: string) => {
    machine.lines.push(line);
    run.onLine?.(line);
  };
  createInterface({ input: child.stdout, crlfDelay: Infinity }).on('line', (line) => {
    if (machine.exitCode !== undefined) return;
    const at = line.indexOf(mark);
    if (at !== 0) say(at < 0 ? line : line.slice(0, at));
    if (at < 0) return;
    const code = / exit (\d+)$/.exec(line)?.[1];
    if (code === undefined) {
      machine.bootMs = sinceLaunch();
    } else {
      machine.exitCode = Number(code);
      child.kill('SIGKILL'); // it has nothing to save
    }
  });
  try {
    await gone(child);
  } finally {
    clearTimeout(timer);
  }
  machine.totalMs = sinceLaunch();
  return machine;
}

function gone(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('close', () => resolve());
    child.once('error', (cause) =>
      reject(
        new ServalError('ERR_UNSUPPORTED', {
          subject: 'setpriv',
          reason: `it can not be started (${cause.message})`,
          remedy: 'Install util-linux',
          cause,
        }),
      ),
    );
  });
}

/** The error for a machine that ended, or had to be ended, before its command did. */
function ended(run: GuestRun, machine: Machine, folder: string, log: string): ServalError {
  const subject = `guest running ${run.command.join(' ')}`;
  const kernelLog = log.trim().split(/\r?\n/).slice(-200);
  const details = { ...machine, folder, kernelLog };
  if (machine.stderr.includes('failed to execute')) {
    const reason = 'qemu-system-x86_64 can not be started';
    return new ServalError('ERR_UNSUPPORTED', {
      subject,
      reason,
      remedy: 'Install qemu-system-x86',
      details,
    });
  }
  if (machine.timedOut) {
    const reached =
      machine.bootMs > 0 ? `its command ran since ${machine.bootMs} ms` : 'it had not booted yet';
    return new ServalError('ERR_KERNEL', {
      subject,
      reason: `it was ended after ${run.timeoutMs} ms; ${reached}`,
      remedy:
        'See the details for its output and the kernel’s last lines; allow more time if the host is busy',
      details,
    });
  }
  return new ServalError('ERR_KERNEL', {
    subject,
    reason: `the machine ended by itself: ${machine.stderr.trim() || lastWords(kernelLog)}`,
    remedy: 'See the details for the kernel’s last lines',
    details,
  });
}

function lastWords(kernelLog: string[]): string {
  return kernelLog.find((line) => line.includes('Kernel panic')) ?? kernelLog.slice(-3).join('; ');
}
