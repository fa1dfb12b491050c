/** What the kernel tests of the addon share: small BPF objects, a bpf file system of their own, numbers as bytes. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native, type NativeError } from './native.js';

export const addonPath = new URL('../native/build/Release/serval.node', import.meta.url).pathname;
const bpfFolder = new URL('../bpf', import.meta.url).pathname;

const prelude = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "serval_abi.h"

#define MAP(kind, name, entries, flags, key_type, value_type) struct { \\
  __uint(type, kind); __uint(max_entries, entries); __uint(map_flags, flags); \\
  __type(key, key_type); __type(value, value_type); } name SEC(".maps")

char _license[] SEC("license") = "Dual BSD/GPL";
`;

export interface Fixture {
  folder: string;
  bpffs: string;
  objectPath: string;
  dispose(): void;
}

/** Compiles this BPF program and mounts a bpf file system. */
export function makeFixture(source: string): Fixture {
  const folder = mkdtempSync(join(tmpdir(), 'serval-native-'));
  const bpffs = mkdtempSync(join(tmpdir(), 'serval-bpffs-'));
  native().mountBpffs(bpffs);
  const input = join(folder, 'test.bpf.c');
  const objectPath = join(folder, 'test.bpf.o');
  writeFileSync(input, prelude + source);
  const multiarch = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const flags = ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${multiarch}`, `-I${bpfFolder}`];
  execFileSync('clang-14', [...flags, '-c', input, '-o', objectPath]);
  const dispose = (): void => {
    native().unmountBpffs(bpffs);
    rmSync(bpffs, { recursive: true });
    rmSync(folder, { recursive: true });
  };
  return { folder, bpffs, objectPath, dispose };
}

/** Of BPF objects. Handles that earlier tests left to the garbage collector may go meanwhile: compare with "at most". */
export function openDescriptors(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the descriptor that reads the directory
    }
  });
  return links.filter((link) => link.startsWith('anon_inode:bpf')).length;
}

/** What this call throws. */
export function failure(run: () => unknown): NativeError & { done?: number } {
  try {
    run();
  } catch (error) {
    return error as NativeError;
  }
  throw new Error('did not throw');
}

/** What it rejects with. */
export async function failureOf(work: Promise<unknown>): Promise<NativeError> {
  try {
    await work;
  } catch (error) {
    return error as NativeError;
  }
  throw new Error('did not fail');
}

export function u32(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => buffer.writeUInt32LE(value, i * 4));
  return buffer;
}

export function u64(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => buffer.writeBigUInt64LE(BigInt(value), i * 8));
  return buffer;
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
